"""The entry point that pytest loads: it names the plugin by its module, as `-p pytest_langfuse.plugin` does.

pytest refuses a module that is registered by two names, with a traceback.
"""

pytest_plugins = ("pytest_langfuse.plugin",)
