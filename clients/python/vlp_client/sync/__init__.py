# Made from vlp_client/aio/__init__.py by clients/python/write_sync_client.py: change it there.
