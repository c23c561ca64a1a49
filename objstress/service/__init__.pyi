from .app import create_app as create_app
from .app import serve as serve
from .jobs import ServiceSettings as ServiceSettings
from .parsing import parse_structure as parse_structure
from .problems import PROBLEMS as PROBLEMS
from .problems import Problem as Problem
