// Stand-in for the engine that tests the bench: copies CMD_COUNT bursts of four 64-bit beats from offset 0x1000 to 0x2000.
// CMD_OFFSET selects a defect, so that one build shows that the bench sees each of them.
module alloy (
    input aclk, input aresetn,
    output m0_axi_arvalid, input m0_axi_arready, output [39:0] m0_axi_araddr, output [3:0] m0_axi_arid, output [7:0] m0_axi_arlen,
    output [2:0] m0_axi_arsize, output [1:0] m0_axi_arburst, output m0_axi_arlock, output [3:0] m0_axi_arcache,
    output [2:0] m0_axi_arprot, output [3:0] m0_axi_arqos,
    input m0_axi_rvalid, output m0_axi_rready, input [63:0] m0_axi_rdata, input [1:0] m0_axi_rresp, input m0_axi_rlast, input [3:0] m0_axi_rid,
    output m0_axi_awvalid, input m0_axi_awready, output [39:0] m0_axi_awaddr, output [3:0] m0_axi_awid, output [7:0] m0_axi_awlen,
    output [2:0] m0_axi_awsize, output [1:0] m0_axi_awburst, output m0_axi_awlock, output [3:0] m0_axi_awcache,
    output [2:0] m0_axi_awprot, output [3:0] m0_axi_awqos,
    output m0_axi_wvalid, input m0_axi_wready, output [63:0] m0_axi_wdata, output [7:0] m0_axi_wstrb, output m0_axi_wlast,
    input m0_axi_bvalid, output m0_axi_bready, input [1:0] m0_axi_bresp, input [3:0] m0_axi_bid,
    input s_axi_awvalid, output s_axi_awready, input [11:0] s_axi_awaddr, input [2:0] s_axi_awprot,
    input s_axi_wvalid, output s_axi_wready, input [31:0] s_axi_wdata, input [3:0] s_axi_wstrb,
    output reg s_axi_bvalid, input s_axi_bready, output [1:0] s_axi_bresp,
    input s_axi_arvalid, output s_axi_arready, input [11:0] s_axi_araddr, input [2:0] s_axi_arprot,
    output reg s_axi_rvalid, input s_axi_rready, output [31:0] s_axi_rdata, output [1:0] s_axi_rresp,
    output irq, output trace_valid, output [1:0] trace_event, output [15:0] trace_tag
);
    localparam IDLE = 0, AR = 1, R = 2, AW = 3, W = 4, B = 5, STUCK = 6;
    localparam ADDRESS = 1, LENGTH = 2, BOUNDARY = 3, SIZE = 4, TYPE = 5, UNALIGNED = 6, OUTSIDE = 7, EARLY_LAST = 8, DATA = 9,
               DROPPED = 10, WRITE_ADDRESS = 11, HANG = 12, NO_LAST = 13, STROBE = 14, EAGER = 15, QOS = 16,
               LITE_ERROR = 17, LITE_DATA = 18, LITE_SILENT = 19, LITE_DROPPED = 20;
    reg [2:0] state;
    reg [31:0] base_lo, base_hi, defect, count, index, cycles;
    reg [63:0] buffer [0:3];
    reg [1:0] beat;
    reg busy, done, error, pending, waited, aborted;
    reg [7:0] code;

    // Registers.
    reg [31:0] value;
    reg unanswered;
    wire write = s_axi_awvalid && s_axi_wvalid && !s_axi_bvalid && !(defect == LITE_SILENT && s_axi_awaddr == 12'h30);
    wire read = s_axi_arvalid && !s_axi_rvalid;
    assign s_axi_awready = write, s_axi_wready = write, s_axi_arready = read, s_axi_bresp = 0;
    assign s_axi_rresp = defect == LITE_ERROR ? 2 : 0, s_axi_rdata = value ^ (defect == LITE_DATA && unanswered ? 1 : 0);
    always @(posedge aclk) begin
        unanswered <= s_axi_rvalid && !s_axi_rready;
        if (write) s_axi_bvalid <= 1; else if (s_axi_bready || defect == LITE_DROPPED) s_axi_bvalid <= 0;
        if (read) begin
            s_axi_rvalid <= 1;
            case (s_axi_araddr)
                12'h08: value <= 32'hC0DE;
                12'h10: value <= {16'd0, code, 5'd0, error, done, busy};
                12'h34: value <= cycles;
                12'h3C: value <= index;
                default: value <= 0;
            endcase
        end else if (s_axi_rready) s_axi_rvalid <= 0;
        if (!aresetn) begin s_axi_bvalid <= 0; s_axi_rvalid <= 0; end
        if (write)
            case (s_axi_awaddr)
                12'h1C: base_lo <= s_axi_wdata;
                12'h20: base_hi <= s_axi_wdata;
                12'h28: defect <= s_axi_wdata;
                12'h2C: count <= s_axi_wdata;
                default: ;
            endcase
    end
    wire start = write && s_axi_awaddr == 12'h0C && s_axi_wdata[0];
    wire abort = write && s_axi_awaddr == 12'h0C && s_axi_wdata[1];
    wire clear = write && s_axi_awaddr == 12'h18;

    // Copies: one burst at a time.
    wire [39:0] base = {base_hi[7:0], base_lo};
    assign m0_axi_arvalid = state == AR && !(defect == DROPPED && waited);
    assign m0_axi_araddr = base + (defect == BOUNDARY ? 40'hFF0 : defect == UNALIGNED ? 40'h1004 : defect == OUTSIDE ? 40'h8000_0000 : 40'h1000)
                           + {index, 5'd0} + (defect == ADDRESS && waited ? 8 : 0);
    assign m0_axi_arid = 5, m0_axi_arlen = defect == LENGTH && waited ? 2 : 3, m0_axi_arsize = defect == SIZE ? 2 : 3;
    assign m0_axi_arburst = defect == TYPE ? 0 : 1, m0_axi_arqos = defect == QOS && waited ? 1 : 0;
    assign m0_axi_arlock = 0, m0_axi_arcache = 3, m0_axi_arprot = 0, m0_axi_rready = state == R;
    assign m0_axi_awvalid = state == AW, m0_axi_awaddr = base + 40'h2000 + {index, 5'd0} + (defect == WRITE_ADDRESS && waited ? 8 : 0);
    assign m0_axi_awid = 6, m0_axi_awlen = 3, m0_axi_awsize = 3, m0_axi_awburst = 1, m0_axi_awlock = 0, m0_axi_awcache = 3;
    assign m0_axi_awprot = 0, m0_axi_awqos = 0;
    assign m0_axi_wvalid = state == W, m0_axi_wdata = buffer[beat] ^ (defect == DATA && waited ? 1 : 0);
    assign m0_axi_wstrb = defect == STROBE && waited ? 8'h0F : 8'hFF;
    assign m0_axi_wlast = defect == NO_LAST ? 0 : beat == (defect == EARLY_LAST ? 2 : 3);
    assign m0_axi_bready = state == B, irq = pending;
    wire finished = m0_axi_bvalid && state == B;
    assign trace_valid = finished, trace_event = 2, trace_tag = index[15:0];

    always @(posedge aclk) begin
        if (busy) cycles <= cycles + 1;
        if (abort) aborted <= 1;
        if (clear) pending <= 0;
        waited <= m0_axi_arvalid && !m0_axi_arready || m0_axi_awvalid && !m0_axi_awready || m0_axi_wvalid && !m0_axi_wready;
        case (state)
            IDLE: if (start) begin
                state <= defect == HANG ? STUCK : AR; index <= 0; beat <= 0; busy <= 1; done <= 0; error <= 0; code <= 0; cycles <= 0; aborted <= 0;
            end
            AR: if (m0_axi_arvalid && m0_axi_arready) state <= R;
            R: if (m0_axi_rvalid) begin
                buffer[beat] <= m0_axi_rdata;
                beat <= beat + 1;
                if (m0_axi_rresp != 0) begin error <= 1; code <= 8'h21; end
                if (m0_axi_rid != 5) begin error <= 1; code <= 8'h23; end
                if (m0_axi_rlast) state <= AW;
            end
            AW: if (m0_axi_awready) state <= W;
            W: if (m0_axi_wready) begin
                beat <= beat + 1;
                if (beat == 3) state <= B;
                if (beat == 3 && defect == EAGER) begin busy <= 0; done <= 1; pending <= 1; end
            end
            B: if (m0_axi_bvalid) begin
                index <= index + 1;
                if (m0_axi_bresp != 0) begin error <= 1; code <= 8'h22; end
                if (m0_axi_bid != 6) begin error <= 1; code <= 8'h23; end
                if (aborted) begin error <= 1; code <= 8'h24; end
                if (error || aborted || m0_axi_bresp != 0 || index + 1 == count) begin
                    state <= IDLE; busy <= 0; pending <= 1;
                    done <= !error && !aborted && m0_axi_bresp == 0;
                end else state <= AR;
            end
            default: ;
        endcase
        if (!aresetn) begin state <= IDLE; busy <= 0; done <= 0; error <= 0; pending <= 0; waited <= 0; aborted <= 0; code <= 0; cycles <= 0; index <= 0; end
    end
endmodule
