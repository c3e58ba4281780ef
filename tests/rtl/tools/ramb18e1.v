// Behavioural model of the RAMB18E1 as Yosys uses it for one write port and one read port of up to 36 bits: simple dual
// port, read first, no output register, no reset, not initialized. After AMD UG473; anything else stops the simulation.
module RAMB18E1 (
    input CLKARDCLK, CLKBWRCLK, ENARDEN, ENBWREN, REGCEAREGCE, REGCEB, RSTRAMARSTRAM, RSTRAMB, RSTREGARSTREG, RSTREGB,
    input [13:0] ADDRARDADDR, ADDRBWRADDR, input [15:0] DIADI, DIBDI, input [1:0] DIPADIP, DIPBDIP, WEA, input [3:0] WEBWE,
    output reg [15:0] DOADO, DOBDO, output reg [1:0] DOPADOP, DOPBDOP
);
    parameter RAM_MODE = "TDP", WRITE_MODE_A = "WRITE_FIRST", WRITE_MODE_B = "WRITE_FIRST";
    parameter DOA_REG = 0, DOB_REG = 0, READ_WIDTH_A = 0, READ_WIDTH_B = 0, WRITE_WIDTH_A = 0, WRITE_WIDTH_B = 0;
    parameter SRVAL_A = 0, SRVAL_B = 0, INIT_A = 0, INIT_B = 0;
    // more parameters
    initial if (RAM_MODE != "SDP" || READ_WIDTH_A != 36 || WRITE_WIDTH_B != 36 || DOA_REG != 0
                || WRITE_MODE_B != "READ_FIRST") begin
        $display("RAMB18E1: parameters that the model does not have");
        $stop;
    end
    reg [8:0] lane0[0:511], lane1[0:511], lane2[0:511], lane3[0:511];
    wire [8:0] read = ADDRARDADDR[13:5], write = ADDRBWRADDR[13:5];
    always @(posedge CLKARDCLK) if (ENARDEN) begin
        {DOPADOP[0], DOADO[7:0]} <= lane0[read];
        {DOPADOP[1], DOADO[15:8]} <= lane1[read];
        {DOPBDOP[0], DOBDO[7:0]} <= lane2[read];
        {DOPBDOP[1], DOBDO[15:8]} <= lane3[read];
        if (RSTRAMARSTRAM || WEA != 0) begin
            $display("RAMB18E1: a port that the model does not have");
            $stop;
        end
    end
    always @(posedge CLKBWRCLK) if (ENBWREN) begin
        if (WEBWE[0]) lane0[write] <= {DIPADIP[0], DIADI[7:0]};
        if (WEBWE[1]) lane1[write] <= {DIPADIP[1], DIADI[15:8]};
        if (WEBWE[2]) lane2[write] <= {DIPBDIP[0], DIBDI[7:0]};
        if (WEBWE[3]) lane3[write] <= {DIPBDIP[1], DIBDI[15:8]};
    end
endmodule
