// Behavioural model of the DSP48E1 as rtl/prim/dsp.py configures it: AD = D + A (registered), M = AD * B (registered),
// P = M + C or M + PCIN, with an optional output register. After AMD UG479; anything else stops the simulation.
module DSP48E1 #(
    parameter ACASCREG = 1, ADREG = 1, ALUMODEREG = 1, AREG = 1, BCASCREG = 1, BREG = 1, CARRYINREG = 1, CARRYINSELREG = 1,
    parameter CREG = 1, DREG = 1, INMODEREG = 1, MREG = 1, OPMODEREG = 1, PREG = 1,
    parameter A_INPUT = "DIRECT", B_INPUT = "DIRECT", USE_MULT = "MULTIPLY", USE_SIMD = "ONE48", USE_DPORT = "FALSE"
) (
    input CLK,
    input [29:0] A, input [17:0] B, input [47:0] C, input [24:0] D,
    input [3:0] ALUMODE, input CARRYIN, input [2:0] CARRYINSEL, input [4:0] INMODE, input [6:0] OPMODE,
    input [47:0] PCIN, input [29:0] ACIN, input [17:0] BCIN, input CARRYCASCIN, input MULTSIGNIN,
    input CEA1, input CEA2, input CEAD, input CEALUMODE, input CEB1, input CEB2, input CEC, input CECARRYIN, input CECTRL,
    input CED, input CEINMODE, input CEM, input CEP,
    input RSTA, input RSTALLCARRYIN, input RSTALUMODE, input RSTB, input RSTC, input RSTCTRL, input RSTD, input RSTINMODE,
    input RSTM, input RSTP,
    output [47:0] P, output [47:0] PCOUT
);
    initial begin
        if (ADREG != 1 || AREG != 0 || BREG != 1 || CREG != 0 || DREG != 0 || MREG != 1 || USE_DPORT != "TRUE") begin
            $display("DSP48E1: attribute values that the model does not have");
            $stop;
        end
    end
    reg signed [24:0] ad;
    reg signed [17:0] b;
    reg signed [42:0] product;
    reg [47:0] held;
    wire [2:0] z = OPMODE[6:4];
    wire [47:0] sum = {{5{product[42]}}, product} + (z == 3'b011 ? C : PCIN);
    always @(posedge CLK) begin
        if (CEAD) ad <= $signed(D) + $signed(A[24:0]);
        if (CEB2) b <= $signed(B);
        if (CEM) product <= ad * b;
        if (CEP) held <= sum;
        if (INMODE != 5'b00100 || OPMODE[3:0] != 4'b0101 || ALUMODE != 0 || (z != 3'b011 && z != 3'b001)) begin
            $display("DSP48E1: a mode that the model does not have");
            $stop;
        end
    end
    assign P = PREG ? held : sum;
    assign PCOUT = P;
endmodule
