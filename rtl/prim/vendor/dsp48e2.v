// Behavioural model of the DSP48E2 as rtl/prim/dsp.py configures it. The multiplier takes AD = D + A (registered) or A
// itself (one or two registers), and B (one or two); M = AD * B (registered); P = W + M + Z, where W is C or 0 and Z is
// C, PCIN or 0, with an optional output register. After AMD UG579; anything else stops the simulation.
module DSP48E2 #(
    parameter ACASCREG = 1, ADREG = 1, ALUMODEREG = 1, AREG = 1, BCASCREG = 1, BREG = 1, CARRYINREG = 1, CARRYINSELREG = 1,
    parameter CREG = 1, DREG = 1, INMODEREG = 1, MREG = 1, OPMODEREG = 1, PREG = 1,
    parameter A_INPUT = "DIRECT", B_INPUT = "DIRECT", USE_MULT = "MULTIPLY", USE_SIMD = "ONE48", AMULTSEL = "A", BMULTSEL = "B", PREADDINSEL = "A"
) (
    input CLK,
    input [29:0] A, input [17:0] B, input [47:0] C, input [26:0] D,
    input [3:0] ALUMODE, input CARRYIN, input [2:0] CARRYINSEL, input [4:0] INMODE, input [8:0] OPMODE,
    input [47:0] PCIN, input [29:0] ACIN, input [17:0] BCIN, input CARRYCASCIN, input MULTSIGNIN,
    input CEA1, input CEA2, input CEAD, input CEALUMODE, input CEB1, input CEB2, input CEC, input CECARRYIN, input CECTRL,
    input CED, input CEINMODE, input CEM, input CEP,
    input RSTA, input RSTALLCARRYIN, input RSTALUMODE, input RSTB, input RSTC, input RSTCTRL, input RSTD, input RSTINMODE,
    input RSTM, input RSTP,
    output [47:0] P, output [47:0] PCOUT
);
    initial begin
        if (ADREG != 1 || (AMULTSEL == "AD" ? AREG != 0 : AREG == 0 || AMULTSEL != "A") || BREG == 0 || CREG != 0 || DREG != 0
            || MREG != 1) begin
            $display("DSP48E2: attribute values that the model does not have");
            $stop;
        end
    end
    reg signed [26:0] a1, a2, ad;
    reg signed [17:0] b1, b2;
    reg signed [44:0] product;
    reg [47:0] held;
    wire [1:0] w = OPMODE[8:7];
    wire [2:0] z = OPMODE[6:4];
    wire [47:0] sum = {{3{product[44]}}, product} + (w == 2'b11 ? C : 48'b0) + (z == 3'b011 ? C : z == 3'b001 ? PCIN : 48'b0);
    always @(posedge CLK) begin
        if (CEA1) a1 <= A[26:0];
        if (CEA2) a2 <= AREG == 2 ? a1 : A[26:0];
        if (CEAD) ad <= $signed(D) + $signed(A[26:0]);
        if (CEB1) b1 <= B;
        if (CEB2) b2 <= BREG == 2 ? b1 : B;
        if (CEM) product <= (AMULTSEL == "A" ? a2 : ad) * b2;
        if (CEP) held <= sum;
        if (INMODE != (AMULTSEL == "A" ? 5'b00000 : 5'b00100) || OPMODE[3:0] != 4'b0101 || ALUMODE != 0
            || (z != 3'b011 && z != 3'b001 && z != 0) || (w != 2'b11 && w != 0)) begin
            $display("DSP48E2: a mode that the model does not have");
            $stop;
        end
    end
    assign P = PREG ? held : sum;
    assign PCOUT = P;
endmodule
