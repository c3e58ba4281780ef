/* The files that the program is about, as they are. */
    .section .rodata
    .globl program_file, program_file_end, images, images_end
    .balign 4
program_file:
    .incbin "program.bin"
program_file_end:
    .balign 4
images:
    .incbin "images.bin"
images_end:
