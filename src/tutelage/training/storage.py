"""How runs are stored: see :mod:`tutelage.storage`."""

from tutelage.storage import finite, storage, sync_folder, write_atomically, write_json

__all__ = ["finite", "storage", "sync_folder", "write_atomically", "write_json"]
