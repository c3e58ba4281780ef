"""The engine beside a RISC-V processor in one simulation: the processor runs the C driver, classifies images and says
over its UART what it found."""
