"""A web service and a page: the text of a structure in, its elastic properties out.

For example::

    from objstress.service import ServiceSettings, serve

    serve(ServiceSettings(), "127.0.0.1", 8765, print)

or `objstress serve` in a shell. Without models the best universal potential answers.
`create_app` gives the FastAPI application alone.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
