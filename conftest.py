# At the root, so that the cells of notebooks/ get the strict checks too, also when a notebook is named alone.
pytest_plugins = ["strict_nbval"]
