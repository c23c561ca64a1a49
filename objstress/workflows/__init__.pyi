from .chain import run_chain as run_chain
from .crystal_law import law_of as law_of
from .pulled_part import pull_part as pull_part
from .silicon import data_folder as data_folder
from .silicon import elastic_constants_of_labels as elastic_constants_of_labels
from .silicon import random_law as random_law
from .silicon import run_demo as run_demo
