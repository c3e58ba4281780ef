// Carry chain of four bits (AMD UG474).
module CARRY4 (input CI, input CYINIT, input [3:0] DI, input [3:0] S, output [3:0] O, output [3:0] CO);
    wire [4:0] c;
    assign c[0] = CI | CYINIT;
    assign c[1] = S[0] ? c[0] : DI[0];
    assign c[2] = S[1] ? c[1] : DI[1];
    assign c[3] = S[2] ? c[2] : DI[2];
    assign c[4] = S[3] ? c[3] : DI[3];
    assign O = S ^ c[3:0];
    assign CO = c[4:1];
endmodule
