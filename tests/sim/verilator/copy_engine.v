// Stand-in for the engine that tests the bench: copies CMD_COUNT bursts of four 64-bit beats from offset 0x1000 to 0x2000.
// CMD_OFFSET selects a defect, so that one build shows that the bench sees each of them.
module alloy (
    input aclk, input aresetn,
    output m_axi_0_arvalid, input m_axi_0_arready, output [39:0] m_axi_0_araddr, output [3:0] m_axi_0_arid, output [7:0] m_axi_0_arlen,
    output [2:0] m_axi_0_arsize, output [1:0] m_axi_0_arburst, output m_axi_0_arlock, output [3:0] m_axi_0_arcache,
    output [2:0] m_axi_0_arprot, output [3:0] m_axi_0_arqos,
    input m_axi_0_rvalid, output m_axi_0_rready, input [63:0] m_axi_0_rdata, input [1:0] m_axi_0_rresp, input m_axi_0_rlast, input [3:0] m_axi_0_rid,
    output m_axi_0_awvalid, input m_axi_0_awready, output [39:0] m_axi_0_awaddr, output [3:0] m_axi_0_awid, output [7:0] m_axi_0_awlen,
    output [2:0] m_axi_0_awsize, output [1:0] m_axi_0_awburst, output m_axi_0_awlock, output [3:0] m_axi_0_awcache,
    output [2:0] m_axi_0_awprot, output [3:0] m_axi_0_awqos,
    output m_axi_0_wvalid, input m_axi_0_wready, output [63:0] m_axi_0_wdata, output [7:0] m_axi_0_wstrb, output m_axi_0_wlast,
    input m_axi_0_bvalid, output m_axi_0_bready, input [1:0] m_axi_0_bresp, input [3:0] m_axi_0_bid,
    input s_axil_awvalid, output s_axil_awready, input [11:0] s_axil_awaddr, input [2:0] s_axil_awprot,
    input s_axil_wvalid, output s_axil_wready, input [31:0] s_axil_wdata, input [3:0] s_axil_wstrb,
    output reg s_axil_bvalid, input s_axil_bready, output [1:0] s_axil_bresp,
    input s_axil_arvalid, output s_axil_arready, input [11:0] s_axil_araddr, input [2:0] s_axil_arprot,
    output reg s_axil_rvalid, input s_axil_rready, output [31:0] s_axil_rdata, output [1:0] s_axil_rresp,
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
    wire write = s_axil_awvalid && s_axil_wvalid && !s_axil_bvalid && !(defect == LITE_SILENT && s_axil_awaddr == 12'h30);
    wire read = s_axil_arvalid && !s_axil_rvalid;
    assign s_axil_awready = write, s_axil_wready = write, s_axil_arready = read, s_axil_bresp = 0;
    assign s_axil_rresp = defect == LITE_ERROR ? 2 : 0, s_axil_rdata = value ^ (defect == LITE_DATA && unanswered ? 1 : 0);
    always @(posedge aclk) begin
        unanswered <= s_axil_rvalid && !s_axil_rready;
        if (write) s_axil_bvalid <= 1; else if (s_axil_bready || defect == LITE_DROPPED) s_axil_bvalid <= 0;
        if (read) begin
            s_axil_rvalid <= 1;
            case (s_axil_araddr)
                12'h08: value <= 32'hC0DE;
                12'h10: value <= {16'd0, code, 5'd0, error, done, busy};
                12'h34: value <= cycles;
                12'h3C: value <= index;
                default: value <= 0;
            endcase
        end else if (s_axil_rready) s_axil_rvalid <= 0;
        if (!aresetn) begin s_axil_bvalid <= 0; s_axil_rvalid <= 0; end
        if (write)
            case (s_axil_awaddr)
                12'h1C: base_lo <= s_axil_wdata;
                12'h20: base_hi <= s_axil_wdata;
                12'h28: defect <= s_axil_wdata;
                12'h2C: count <= s_axil_wdata;
                default: ;
            endcase
    end
    wire start = write && s_axil_awaddr == 12'h0C && s_axil_wdata[0];
    wire abort = write && s_axil_awaddr == 12'h0C && s_axil_wdata[1];
    wire clear = write && s_axil_awaddr == 12'h18;

    // Copies: one burst at a time.
    wire [39:0] base = {base_hi[7:0], base_lo};
    assign m_axi_0_arvalid = state == AR && !(defect == DROPPED && waited);
    assign m_axi_0_araddr = base + (defect == BOUNDARY ? 40'hFF0 : defect == UNALIGNED ? 40'h1004 : defect == OUTSIDE ? 40'h8000_0000 : 40'h1000)
                           + {index, 5'd0} + (defect == ADDRESS && waited ? 8 : 0);
    assign m_axi_0_arid = 5, m_axi_0_arlen = defect == LENGTH && waited ? 2 : 3, m_axi_0_arsize = defect == SIZE ? 2 : 3;
    assign m_axi_0_arburst = defect == TYPE ? 0 : 1, m_axi_0_arqos = defect == QOS && waited ? 1 : 0;
    assign m_axi_0_arlock = 0, m_axi_0_arcache = 3, m_axi_0_arprot = 0, m_axi_0_rready = state == R;
    assign m_axi_0_awvalid = state == AW, m_axi_0_awaddr = base + 40'h2000 + {index, 5'd0} + (defect == WRITE_ADDRESS && waited ? 8 : 0);
    assign m_axi_0_awid = 6, m_axi_0_awlen = 3, m_axi_0_awsize = 3, m_axi_0_awburst = 1, m_axi_0_awlock = 0, m_axi_0_awcache = 3;
    assign m_axi_0_awprot = 0, m_axi_0_awqos = 0;
    assign m_axi_0_wvalid = state == W, m_axi_0_wdata = buffer[beat] ^ (defect == DATA && waited ? 1 : 0);
    assign m_axi_0_wstrb = defect == STROBE && waited ? 8'h0F : 8'hFF;
    assign m_axi_0_wlast = defect == NO_LAST ? 0 : beat == (defect == EARLY_LAST ? 2 : 3);
    assign m_axi_0_bready = state == B, irq = pending;
    wire finished = m_axi_0_bvalid && state == B;
    assign trace_valid = finished, trace_event = 2, trace_tag = index[15:0];

    always @(posedge aclk) begin
        if (busy) cycles <= cycles + 1;
        if (abort) aborted <= 1;
        if (clear) pending <= 0;
        waited <= m_axi_0_arvalid && !m_axi_0_arready || m_axi_0_awvalid && !m_axi_0_awready || m_axi_0_wvalid && !m_axi_0_wready;
        case (state)
            IDLE: if (start) begin
                state <= defect == HANG ? STUCK : AR; index <= 0; beat <= 0; busy <= 1; done <= 0; error <= 0; code <= 0; cycles <= 0; aborted <= 0;
            end
            AR: if (m_axi_0_arvalid && m_axi_0_arready) state <= R;
            R: if (m_axi_0_rvalid) begin
                buffer[beat] <= m_axi_0_rdata;
                beat <= beat + 1;
                if (m_axi_0_rresp != 0) begin error <= 1; code <= 8'h21; end
                if (m_axi_0_rid != 5) begin error <= 1; code <= 8'h23; end
                if (m_axi_0_rlast) state <= AW;
            end
            AW: if (m_axi_0_awready) state <= W;
            W: if (m_axi_0_wready) begin
                beat <= beat + 1;
                if (beat == 3) state <= B;
                if (beat == 3 && defect == EAGER) begin busy <= 0; done <= 1; pending <= 1; end
            end
            B: if (m_axi_0_bvalid) begin
                index <= index + 1;
                if (m_axi_0_bresp != 0) begin error <= 1; code <= 8'h22; end
                if (m_axi_0_bid != 6) begin error <= 1; code <= 8'h23; end
                if (aborted) begin error <= 1; code <= 8'h24; end
                if (error || aborted || m_axi_0_bresp != 0 || index + 1 == count) begin
                    state <= IDLE; busy <= 0; pending <= 1;
                    done <= !error && !aborted && m_axi_0_bresp == 0;
                end else state <= AR;
            end
            default: ;
        endcase
        if (!aresetn) begin state <= IDLE; busy <= 0; done <= 0; error <= 0; pending <= 0; waited <= 0; aborted <= 0; code <= 0; cycles <= 0; index <= 0; end
    end
endmodule
