from opslib.import_shims import skip_httpx_command

skip_httpx_command()
