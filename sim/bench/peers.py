"""Published engines on the same boards: what the table is compared with.

Frames per second with one image in flight (``one``, from the latency where that is what is printed) and with several
(``many``); None where nothing is published. Figures are of the sources named, none is measured here.
"""

from dataclasses import dataclass

__all__ = ["PEERS", "Peer", "best"]


@dataclass(frozen=True)
class Peer:
    """A published figure: ``precision`` of weights and activations as printed, ``clock_mhz`` None where it is not."""
    board: str
    network: str
    system: str
    precision: str
    clock_mhz: int | None
    one: float | None
    many: float | None
    source: str
    date: str


_ZOO = ("Xilinx/Vitis-AI model_zoo README, Vitis AI 2.5", "2022-07")
_MSD = ("MSD (FCCM 2023), README", "2023-09")
_TINY = ("MLPerf Tiny v1.1, fpgaConvNet, closed division", "2023-07")
_NETWORKS = {"resnet18": {"zcu102": (205.0, 499.6), "kv260": (220.4, 239.8)},
             "resnet50": {"zcu102": (77.6, 173.2), "kv260": (84.4, 88.0)},
             "mobilenet_v1": {"zcu102": (326.6, 951.0), "kv260": (354.2, 425.6)},
             "mobilenet_v2": {"zcu102": (268.1, 707.0), "kv260": (290.6, 336.8)},
             "vgg16": {"zcu102": (20.2, 40.9), "kv260": (21.5, 21.7)}}
_DPU = {"zcu102": ("DPU, 3 x B4096", 281), "kv260": ("DPU, B4096", 300)}

PEERS = (
    *(Peer(board, network, _DPU[board][0], "W8A8", _DPU[board][1], *rates, *_ZOO)
      for network, found in _NETWORKS.items() for board, rates in found.items()),
    *(Peer(board, network, "FILM-QNN", "W4/W8, A5", clock, rate, None, "FILM-QNN (FPGA 2022)", "2022-02")
      for board, clock, rates in (("zcu102", 150, (214.8, 109.1, 537.9)), ("pynq-z2", 100, (27.8, 13.3, 132.3)))
      for network, rate in zip(("resnet18", "resnet50", "mobilenet_v2"), rates, strict=True)),
    Peer("zcu102", "vgg16", "MSD", "W8 + RSD, A8", 214, 19.0, None, *_MSD),
    Peer("zcu102", "resnet18", "MSD", "W8 + RSD, A8", 214, 175.7, None, *_MSD),
    Peer("zcu102", "resnet50", "MSD", "W8 + RSD, A8", 214, 62.7, None, *_MSD),
    Peer("zcu102", "mobilenet_v2", "NN2FPGA", "W8A8", None, None, 2115, "NN2FPGA (TCAD 44(5)), network in the "
         "bitstream", "2025-05"),
    Peer("zcu102", "mobilenet_v2", "Jiang et al.", "W8A8", 333, None, 1910, "full dataflow (TCAD 2023), network in the "
         "bitstream", "2023"),
    Peer("zcu102", "mobilenet_v2", "Wu et al.", "W8A8", 333, None, 809.8, "Wu (FPL 2019)", "2019-09"),
    Peer("zcu102", "mobilenet_v1", "Mobile-X", "W8A8", None, 190.9, None, "Mobile-X (TCAS-II 2024)", "2024"),
    Peer("zc706", "mobilenet_v2", "Zhao et al.", "W8A8", 200, None, 985.8, "arXiv 2407.19449 v3", "2024-09"),
    Peer("pynq-z2", "vgg16", "MSD", "W8 + RSD, A8", 100, 3.48, None, *_MSD),
    Peer("pynq-z2", "resnet18", "MSD", "W8 + RSD, A8", 100, 38.0, None, *_MSD),
    Peer("pynq-z2", "mobilenet_v2", "MSD", "W8 + RSD, A8", 100, 61.0, None, *_MSD),
    Peer("pynq-z2", "resnet8", "fpgaConvNet", "W8A8", 143, 2433, None, *_TINY),
    Peer("pynq-z2", "ds_cnn", "fpgaConvNet", "W8A8", 143, 3086, None, *_TINY),
    Peer("pynq-z2", "mobilenet_v1_025", "fpgaConvNet", "W8A8", 111, 105.4, None, *_TINY),
    Peer("zc706", "resnet8", "fpgaConvNet", "W8A8", 187, 6803, None, *_TINY),
    Peer("zc706", "mobilenet_v1_025", "fpgaConvNet", "W8A8", 200, 1389, None, *_TINY),
)


def best(board: str, network: str, flight: str) -> Peer | None:
    """The fastest published figure of a network on a board with ``flight`` images in flight: ``one`` or ``many``."""
    found = [peer for peer in PEERS if (peer.board, peer.network) == (board, network) and getattr(peer, flight)]
    return max(found, key=lambda peer: getattr(peer, flight), default=None)
