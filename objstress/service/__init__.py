"""A web service and a page: a structure's text in, its elastic properties out."""
