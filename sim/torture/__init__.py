"""Everything that can go wrong around the engine, at random, many times: it stops with a code of the documents, leaves
the bus in order, touches nothing else, and the next program runs as if nothing had been."""

from .kinds import KINDS
from .state import Runner, Torture
from .subject import CONFIG, Fault, Subject, jobs

__all__ = ["CONFIG", "KINDS", "Fault", "Runner", "Subject", "Torture", "jobs"]
