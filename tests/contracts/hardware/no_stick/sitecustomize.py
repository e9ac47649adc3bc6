"""Lets OpenVINO 2021.4.2's own package take its CPU for a stick: all but the device is real."""

from openvino import inference_engine

EXACT = {"ENFORCE_BF16": "NO"}  # newer CPUs would halve the precision


class IECore(inference_engine.IECore):
    @property
    def available_devices(self):
        return [*super().available_devices, "MYRIAD"]

    def load_network(self, network, device_name, config=None):
        assert device_name == "MYRIAD", device_name
        return super().load_network(network, "CPU", EXACT)


inference_engine.IECore = IECore
