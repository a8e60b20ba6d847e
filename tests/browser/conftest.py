from lab_fixtures import browser, lab, lab_world, page

__all__ = ["browser", "lab", "lab_world", "page"]
