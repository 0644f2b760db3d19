"""The whole certificate: the conformance kit."""

from kitt_core.testing import ExporterContract


class TestHTML(ExporterContract):
    plugin = "kitt_example_exporter.plugin"
    name = "html"
