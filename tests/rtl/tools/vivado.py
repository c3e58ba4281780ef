"""Vivado's commands as far as scripts of a build use them, over Python's Tcl: a block design whose cores, pins,
settings and address segments are those of AMD's documents, and which refuses everything else.

Cores: PG082 (processing_system7), PG201 (zynq_ultra_ps_e), PG247 (smartconnect), PG164 (proc_sys_reset); commands:
UG835.
"""

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path

from lxml import etree
import pytest

tkinter = pytest.importorskip("tkinter", reason="needs Python's Tcl")
SPIRIT = "{http://www.spiritconsortium.org/XMLSchema/SPIRIT/1685-2009}"
PARTS = ("xczu9eg-ffvb1156-2-e", "xck26-sfvc784-2LV-c", "xc7z020clg400-1", "xc7z045ffg900-2", "xczu15eg-ffvb1156-2-e",
         "xc7a100tcsg324-1")
BOARD_PARTS = ("xilinx.com:zcu102:part0:3.4", "xilinx.com:kv260_som:part0:1.4", "tul.com.tw:pynq-z2:part0:1.0",
               "xilinx.com:zc706:part0:1.4")


class Refused(Exception):
    """What Vivado would say."""


def check(truth, text):
    if not truth:
        raise Refused(text)


@dataclass
class Core:
    """Pins (name -> (direction, the settings that make it be there)), interfaces (name -> (mode, settings)), settings
    (name -> (value before any is set, values that may be set)), and segments behind a slave: interface -> name ->
    (lowest address, bytes)."""
    pins: dict = field(default_factory=dict)
    interfaces: dict = field(default_factory=dict)
    settings: dict = field(default_factory=dict)
    segments: dict = field(default_factory=dict)
    external: tuple = ()

    @property
    def processor(self):
        return bool(self.segments and self.settings)


BIT, ANY = ("0", "1"), None


def zynq():
    core = Core(external=("DDR", "FIXED_IO"), pins={
        "FCLK_CLK0": ("clock", ("PCW_EN_CLK0_PORT",)), "FCLK_RESET0_N": ("reset", ("PCW_EN_RST0_PORT",)),
        "IRQ_F2P": ("irq in", ("PCW_USE_FABRIC_INTERRUPT", "PCW_IRQ_F2P_INTR"))},
        settings=dict.fromkeys(("PCW_EN_CLK0_PORT", "PCW_EN_RST0_PORT", "PCW_USE_FABRIC_INTERRUPT", "PCW_IRQ_F2P_INTR",
                                "PCW_USE_M_AXI_GP1"), ("0", BIT)))
    core.settings |= {"PCW_FPGA0_PERIPHERAL_FREQMHZ": ("50", ANY), "PCW_USE_M_AXI_GP0": ("1", BIT)}
    for n in range(2):
        core.interfaces[f"M_AXI_GP{n}"] = ("master", (f"PCW_USE_M_AXI_GP{n}",))
        core.pins[f"M_AXI_GP{n}_ACLK"] = ("clock in", (f"PCW_USE_M_AXI_GP{n}",))
    for n in range(4):
        core.interfaces[f"S_AXI_HP{n}"] = ("slave", (f"PCW_USE_S_AXI_HP{n}",))
        core.pins[f"S_AXI_HP{n}_ACLK"] = ("clock in", (f"PCW_USE_S_AXI_HP{n}",))
        core.settings |= {f"PCW_USE_S_AXI_HP{n}": ("0", BIT), f"PCW_S_AXI_HP{n}_DATA_WIDTH": ("64", ("32", "64"))}
        core.segments[f"S_AXI_HP{n}"] = {f"S_AXI_HP{n}/HP{n}_DDR_LOWOCM": (0, 1 << 29)}
    return core


def zynq_mpsoc():
    core = Core(pins={
        "pl_clk0": ("clock", ("PSU__FPGA_PL0_ENABLE",)), "pl_resetn0": ("reset", ("PSU__FPGA_PL0_ENABLE",)),
        "pl_ps_irq0": ("irq in", ("PSU__USE__IRQ0",))},
        settings={"PSU__FPGA_PL0_ENABLE": ("0", BIT), "PSU__USE__IRQ0": ("0", BIT),
                  "PSU__CRL_APB__PL0_REF_CTRL__FREQMHZ": ("100", ANY)})
    for n, name in enumerate(("HPM0_FPD", "HPM1_FPD", "HPM0_LPD")):
        core.interfaces[f"M_AXI_{name}"] = ("master", (f"PSU__USE__M_AXI_GP{n}",))
        core.pins[f"maxi{name.lower()}_aclk"] = ("clock in", (f"PSU__USE__M_AXI_GP{n}",))
        core.settings[f"PSU__USE__M_AXI_GP{n}"] = ("1", BIT)        # as presets of boards have it
    for n, name in enumerate(("HPC0", "HPC1", "HP0", "HP1", "HP2", "HP3")):
        core.interfaces[f"S_AXI_{name}_FPD"] = ("slave", (f"PSU__USE__S_AXI_GP{n}",))
        core.pins[f"saxi{name.lower()}_fpd_aclk"] = ("clock in", (f"PSU__USE__S_AXI_GP{n}",))
        core.settings |= {f"PSU__USE__S_AXI_GP{n}": ("0", BIT),
                          f"PSU__SAXIGP{n}__DATA_WIDTH": ("128", ("32", "64", "128"))}
        core.segments[f"S_AXI_{name}_FPD"] = {
            f"SAXIGP{n}/{name}_DDR_LOW": (0, 1 << 31), f"SAXIGP{n}/{name}_DDR_HIGH": (1 << 35, 1 << 31),
            f"SAXIGP{n}/{name}_LPS_OCM": (0xFF000000, 1 << 24), f"SAXIGP{n}/{name}_QSPI": (0xC0000000, 1 << 29)}
    return core


def smartconnect():
    counts = tuple(map(str, range(1, 17)))
    return Core(pins={"aclk": ("clock in", ()), "aresetn": ("reset in", ())},
                settings={"NUM_SI": ("1", counts), "NUM_MI": ("1", counts)})


def proc_sys_reset():
    pins = dict.fromkeys(("interconnect_aresetn", "peripheral_aresetn"), ("reset", ()))
    return Core(pins=pins | {"slowest_sync_clk": ("clock in", ()), "ext_reset_in": ("reset in", ())})


def packaged(folder):
    """The core that a ``component.xml`` describes, as Vivado would read it: (vendor:library:name, core)."""
    root = etree.parse(str(Path(folder) / "component.xml")).getroot()

    def text(node, path):
        return node.findtext("/".join(SPIRIT + part for part in path.split("/")))
    check(root.find(f"{SPIRIT}vendorExtensions") is not None, "[IP_Flow 19-1977] Unable to read IP file component.xml")
    core, kinds = Core(), {"clock": "clock in", "reset": "reset in", "interrupt": "irq"}
    for bus in root.iter(f"{SPIRIT}busInterface"):
        name, kind = text(bus, "name"), bus.find(f"{SPIRIT}busType").get(f"{SPIRIT}name")
        if kind == "aximm":
            core.interfaces[name] = ("slave" if bus.find(f"{SPIRIT}slave") is not None else "master", ())
        else:
            core.pins[text(bus, "portMaps/portMap/physicalPort/name")] = (kinds[kind], ())
    for block in root.iter(f"{SPIRIT}memoryMap"):
        name = text(block, "name")
        size = int(text(block, "addressBlock/range"))
        core.segments[name] = {f"{name}/{text(block, 'addressBlock/name')}": (0, size)}
    return ":".join(text(root, part) for part in ("vendor", "library", "name")), core


class Vivado:
    """Vivado in batch mode: :meth:`source` runs a script. ``segments`` are (address space, segment) -> offset or None
    (excluded), ``said`` is what was printed."""

    def __init__(self, folder):
        self.tcl = tkinter.Tcl()
        self.said, self.part, self.project, self.repositories = [], None, None, []
        self.catalog = {"xilinx.com:ip:processing_system7": zynq(), "xilinx.com:ip:zynq_ultra_ps_e": zynq_mpsoc(),
                        "xilinx.com:ip:smartconnect": smartconnect(), "xilinx.com:ip:proc_sys_reset": proc_sys_reset()}
        self.cells, self.values, self.nets, self.links, self.segments = {}, {}, {}, {}, {}
        self.refusal, self.external, self.valid, self.runs, self.top, self.files = None, set(), False, {}, None, []
        for name in dir(self):
            if name.startswith("do_"):
                self.tcl.createcommand(name[3:], partial(self._command, getattr(self, name)))
        self.tcl.call("cd", str(folder))

    def _command(self, command, *words):
        """Tcl does not keep what Python raises."""
        try:
            return command(*words)
        except Exception as error:
            self.refusal = error
            raise

    def source(self, script, *arguments):
        self.tcl.call("set", "argv", arguments)
        try:
            self.tcl.call("source", str(script))
        except tkinter.TclError as error:
            raise self.refusal or error from None

    def _options(self, arguments, flags=(), named=()):
        """(options, what is left) of a command's words."""
        options, left, words = {}, [], list(arguments)
        while words:
            word = words.pop(0)
            if word in flags:
                options[word] = True
            elif word in named:
                options[word] = words.pop(0)
            else:
                check(not word.startswith("-") or word[1:2].isdigit(), f"unknown option {word}")
                left.append(word)
        return options, left

    # Projects, files, runs.

    def do_puts(self, *words):
        if len(words) == 1:
            self.said.append(words[0])
        else:
            self.files.append(words)

    def do_create_project(self, *words):
        options, (name, place) = self._options(words, ("-force",), ("-part",))
        check(options["-part"] in PARTS, f"[Coretcl 2-106] Specified part could not be found: {options['-part']}")
        self.part, self.project = options["-part"], Path(place)
        self.project.mkdir(parents=True)
        return name

    def do_current_project(self):
        return "project"

    def do_current_fileset(self):
        return "fileset"

    def do_get_board_parts(self, *words):
        _, (pattern,) = self._options(words, ("-quiet", "-latest_file_version"))
        return tuple(part for part in BOARD_PARTS if fnmatchcase(part, pattern))

    def do_update_ip_catalog(self):
        for folder in self.repositories:
            name, core = packaged(folder)
            self.catalog[name] = core

    def do_update_compile_order(self, *words):
        self._options(words, (), ("-fileset",))

    def do_add_files(self, *words):
        _, (names,) = self._options(words, ("-norecurse",), ("-fileset",))
        for name in self.tcl.splitlist(names):
            check(Path(name).exists(), f"[Common 17-69] file {name} does not exist")

    def do_get_files(self, name):
        check(name == "system.bd", f"no file {name}")
        return name

    def do_generate_target(self, what, design):
        check(what == "all" and self.valid, "the design was not validated")

    def do_make_wrapper(self, *words):
        options, _ = self._options(words, ("-top",), ("-files",))
        check(options["-files"] == "system.bd", "no such design")
        path = self.project / "system_wrapper.v"
        path.write_text("")
        return str(path)

    def do_get_runs(self, name):
        check(name in ("synth_1", "impl_1"), f"no run {name}")
        return name

    def do_launch_runs(self, *words):
        options, (name,) = self._options(words, (), ("-jobs", "-to_step"))
        check(self.top, "no top module")
        check(name == "synth_1" or self.runs.get("synth_1") == "done", "synthesis is not done")
        self.runs[name] = "running"
        if options.get("-to_step") == "write_bitstream":
            for path in ("alloy.runs/impl_1/system_wrapper.bit", "alloy.gen/sources_1/bd/system/hw_handoff/system.hwh"):
                (self.project / path).parent.mkdir(parents=True)
                (self.project / path).write_text(path)

    def do_wait_on_run(self, name):
        check(self.runs.get(name) == "running", f"{name} does not run")
        self.runs[name] = "done"

    def do_open_run(self, name):
        check(self.runs.get(name) == "done", f"{name} is not done")

    def do_report_timing_summary(self, *words):
        options, _ = self._options(words, (), ("-file",))
        Path(options["-file"]).write_text("timing")

    def do_report_utilization(self, *words):
        options, _ = self._options(words, ("-hierarchical",), ("-file",))
        Path(options["-file"]).write_text("utilization")

    def do_get_property(self, name, run):
        return {"PROGRESS": "100%", "STATS.WNS": "0.25"}[name]

    def do_set_property(self, *words):
        options, left = self._options(words, (), ("-dict", "-name", "-value", "-objects"))
        if "-dict" in options:
            pairs, (target,) = self.tcl.splitlist(options["-dict"]), left
            for name, value in zip(pairs[::2], pairs[1::2], strict=True):
                self._set(target, name.removeprefix("CONFIG."), value)
            return
        name, value, target = left if left else (options["-name"], options["-value"], options["-objects"])
        if name == "ip_repo_paths":
            self.repositories = self.tcl.splitlist(value)
        elif name == "board_part":
            check(value in BOARD_PARTS, f"[Board 49-71] The board_part {value} could not be found")
        elif name == "top":
            self.top = value
        else:
            check((name, target) in (("synth_checkpoint_mode", "system.bd"),
                                     ("STEPS.SYNTH_DESIGN.ARGS.MORE OPTIONS", "synth_1")), f"no property {name}")

    def _set(self, cell, name, value):
        core = self.cells[cell]
        check(name in core.settings, f"[BD 41-1276] {cell} has no setting {name}")
        allowed = core.settings[name][1]
        check(allowed is None or value in allowed, f"{name} cannot be {value}")
        self.values[cell, name] = value

    # The block design.

    def do_create_bd_design(self, name):
        check(name == "system", "another name")

    def do_create_bd_cell(self, *words):
        options, (name,) = self._options(words, (), ("-type", "-vlnv"))
        check(options["-vlnv"] in self.catalog, f"[Coretcl 2-1134] No IP matching VLNV {options['-vlnv']} was found")
        self.cells[name] = self.catalog[options["-vlnv"]]
        return name

    def do_get_bd_cells(self, name):
        check(name in self.cells, f"no cell {name}")
        return name

    def do_apply_bd_automation(self, *words):
        options, (cell,) = self._options(words, (), ("-rule", "-config"))
        core, values = self.cells[cell], self.tcl.splitlist(options["-config"])
        rule = options["-rule"].removeprefix("xilinx.com:bd_rule:")
        check(self.catalog.get(f"xilinx.com:ip:{rule}") is core, f"no rule {rule} for {cell}")
        found = dict(zip(values[::2], values[1::2], strict=True))
        check(set(found) <= {"make_external", "apply_board_preset", "Master", "Slave"}, f"no option among {found}")
        self.external |= {name.strip() for name in found.get("make_external", "").split(",") if name}

    def _value(self, cell, name):
        return self.values.get((cell, name), self.cells[cell].settings[name][0])

    def _there(self, cell, needed):
        return all(self._value(cell, name) == "1" for name in needed)

    def _interfaces(self, cell):
        core = self.cells[cell]
        found = {name: mode for name, (mode, needed) in core.interfaces.items() if self._there(cell, needed)}
        for kind, mode in (("S", "slave"), ("M", "master")):
            if f"NUM_{kind}I" in core.settings:
                found |= {f"{kind}{n:02}_AXI": mode for n in range(int(self._value(cell, f"NUM_{kind}I")))}
        return found

    def _pins(self, cell):
        return {name: kind for name, (kind, needed) in self.cells[cell].pins.items() if self._there(cell, needed)}

    def do_get_bd_pins(self, path):
        cell, name = path.split("/")
        check(cell in self.cells and name in self._pins(cell), f"[BD 5-106] there is no pin {path}")
        return path

    def do_get_bd_intf_pins(self, path):
        cell, name = path.split("/")
        check(cell in self.cells and name in self._interfaces(cell), f"[BD 5-106] there is no interface pin {path}")
        return path

    def do_connect_bd_net(self, source, *targets):
        kind = self._pins(source.split("/")[0])[source.split("/")[1]]
        check(not kind.endswith(" in"), f"{source} drives nothing")
        for target in targets:
            cell, name = target.split("/")
            check(self._pins(cell)[name] == f"{kind} in", f"{source}, a {kind}, does not go into {target}")
            check(target not in self.nets, f"{target} is driven twice")
            self.nets[target] = source

    def do_connect_bd_intf_net(self, one, other):
        modes = [self._interfaces(pin.split("/")[0])[pin.split("/")[1]] for pin in (one, other)]
        check(sorted(modes) == ["master", "slave"], f"{one} and {other} are both {modes[0]}s")
        for pin, its in ((one, other), (other, one)):
            check(pin not in self.links, f"{pin} is connected twice")
            self.links[pin] = its

    # Addresses.

    def _all_segments(self):
        return {f"{cell}/{name}": where for cell, core in self.cells.items() for interface, found in
                core.segments.items() if interface in self._interfaces(cell) for name, where in found.items()}

    def do_get_bd_addr_segs(self, *words):
        options, left = self._options(words, ("-quiet",))
        names = [name for word in left for name in self.tcl.splitlist(word)]
        found = [name for name in names if name in self._all_segments()]
        check("-quiet" in options or found == names, f"[BD 5-390] no segment among {names}")
        return tuple(found)

    def do_get_bd_addr_spaces(self, path):
        cell, name = path.split("/")
        masters = [n for n, mode in self._interfaces(cell).items() if mode == "master"]
        spaces = ["Data"] if self.cells[cell].processor else masters     # one for all its masters
        check(name in spaces, f"[BD 5-390] there is no address space {path}")
        return path

    def _behind(self, space):
        """Names of the segments that the masters of an address space reach over their connections."""
        cell, name = space.split("/")
        todo = [f"{cell}/{n}" for n, mode in self._interfaces(cell).items() if mode == "master" and name in ("Data", n)]
        found = set()
        while todo:
            other = self.links.get(todo.pop())
            if other:
                cell, interface = other.split("/")
                segments = self.cells[cell].segments.get(interface)
                if segments is None:
                    todo += [f"{cell}/{n}" for n, mode in self._interfaces(cell).items() if mode == "master"]
                else:
                    found |= {f"{cell}/{name}" for name in segments}
        return found

    def do_assign_bd_address(self, *words):
        options, (segment,) = self._options(words, (), ("-offset", "-range", "-target_address_space"))
        space = options["-target_address_space"]
        check(segment in self._behind(space), f"{space} does not reach {segment}")
        offset, size = self._all_segments()[segment]
        check(int(options.get("-range", size)) == size, f"{segment} has {size} bytes")
        self.segments[space, segment] = int(options.get("-offset", str(offset)), 0)

    def do_exclude_bd_addr_seg(self, *words):
        options, (segment,) = self._options(words, (), ("-target_address_space",))
        check(segment in self._behind(options["-target_address_space"]), f"nothing reaches {segment}")
        self.segments[options["-target_address_space"], segment] = None

    def do_validate_bd_design(self):
        spaces = set()
        for cell, core in self.cells.items():
            for name, mode in self._interfaces(cell).items():
                check(f"{cell}/{name}" in self.links, f"[BD 41-759] {cell}/{name} is not connected")
                if mode == "master" and core.segments:
                    spaces.add(f"{cell}/Data" if core.processor else f"{cell}/{name}")
            for name, kind in self._pins(cell).items():
                check(not kind.endswith(" in") or f"{cell}/{name}" in self.nets,
                      f"[BD 41-758] {cell}/{name} is not connected")
            check(set(core.external) <= self.external, f"{core.external} have no pins outside")
        for space in spaces:
            for segment in self._behind(space):
                check((space, segment) in self.segments, f"[BD 41-1356] {segment} is not assigned into {space}")
        self.valid = True

    def do_save_bd_design(self):
        check(self.valid, "the design was not validated")
