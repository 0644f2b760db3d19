"""The core's own backend, exporters and importer, registered through the same hooks as any plugin's."""
