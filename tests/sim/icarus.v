// Runs one program on the engine in a four-state simulator: DRAM behind one port, register accesses, the result as a file.
// job.vh defines PORT_BITS, ADDR_BITS, BASE, SIZE (bytes), CMD_OFFSET, CMD_COUNT and the offsets of the registers.
`include "job.vh"
module bench;
    localparam BYTES = `PORT_BITS / 8;
    reg aclk = 0, aresetn = 0;
    always #5 aclk = ~aclk;

    wire arvalid, awvalid, wvalid, wlast, bready, rready;
    wire [`ADDR_BITS-1:0] araddr, awaddr;
    wire [7:0] arlen, awlen;
    wire [`PORT_BITS-1:0] wdata;
    wire [BYTES-1:0] wstrb;
    reg [`PORT_BITS-1:0] dram [0:`SIZE / BYTES - 1];
    reg rvalid = 0, bvalid = 0, reading = 0, writing = 0;
    reg [`PORT_BITS-1:0] rdata = 0;
    reg [31:0] read_at = 0, read_left = 0, write_at = 0;
    integer i;

    reg s_awvalid = 0, s_wvalid = 0, s_arvalid = 0, s_bready = 0, s_rready = 0;
    reg [11:0] s_awaddr = 0, s_araddr = 0;
    reg [31:0] s_wdata = 0;
    wire s_awready, s_wready, s_arready, s_bvalid, s_rvalid, irq;
    wire [31:0] s_rdata;

    alloy dut (
        .aclk(aclk), .aresetn(aresetn), .irq(irq),
        .m_axi_0_arvalid(arvalid), .m_axi_0_arready(!reading), .m_axi_0_araddr(araddr), .m_axi_0_arlen(arlen),
        .m_axi_0_rvalid(rvalid), .m_axi_0_rready(rready), .m_axi_0_rdata(rdata), .m_axi_0_rresp(2'd0), .m_axi_0_rlast(read_left == 1), .m_axi_0_rid(1'd0),
        .m_axi_0_awvalid(awvalid), .m_axi_0_awready(!writing), .m_axi_0_awaddr(awaddr), .m_axi_0_awlen(awlen),
        .m_axi_0_wvalid(wvalid), .m_axi_0_wready(writing && !bvalid), .m_axi_0_wdata(wdata), .m_axi_0_wstrb(wstrb), .m_axi_0_wlast(wlast),
        .m_axi_0_bvalid(bvalid), .m_axi_0_bready(bready), .m_axi_0_bresp(2'd0), .m_axi_0_bid(1'd0),
        .s_axil_awvalid(s_awvalid), .s_axil_awready(s_awready), .s_axil_awaddr(s_awaddr), .s_axil_awprot(3'd0),
        .s_axil_wvalid(s_wvalid), .s_axil_wready(s_wready), .s_axil_wdata(s_wdata), .s_axil_wstrb(4'd15),
        .s_axil_bvalid(s_bvalid), .s_axil_bready(s_bready), .s_axil_arvalid(s_arvalid), .s_axil_arready(s_arready), .s_axil_araddr(s_araddr),
        .s_axil_arprot(3'd0), .s_axil_rvalid(s_rvalid), .s_axil_rready(s_rready), .s_axil_rdata(s_rdata));

    always @(posedge aclk) begin
        if (arvalid && !reading) begin
            reading <= 1; rvalid <= 1; read_left <= arlen + 1; read_at <= (araddr - `BASE) / BYTES;
            rdata <= dram[(araddr - `BASE) / BYTES];
        end else if (rvalid && rready) begin
            read_left <= read_left - 1; read_at <= read_at + 1; rdata <= dram[read_at + 1];
            if (read_left == 1) begin reading <= 0; rvalid <= 0; end
        end
        if (awvalid && !writing) begin writing <= 1; write_at <= (awaddr - `BASE) / BYTES; end
        if (wvalid && writing && !bvalid) begin
            for (i = 0; i < BYTES; i = i + 1) if (wstrb[i]) dram[write_at][8 * i +: 8] <= wdata[8 * i +: 8];
            write_at <= write_at + 1;
            if (wlast) bvalid <= 1;
        end
        if (bvalid && bready) begin bvalid <= 0; writing <= 0; end
    end

    task put(input [11:0] address, input [31:0] value);
        begin
            @(negedge aclk) s_awaddr = address; s_wdata = value; s_awvalid = 1; s_wvalid = 1; s_bready = 1;
            while (!(s_awready === 1 && s_wready === 1)) @(negedge aclk);
            @(negedge aclk) s_awvalid = 0; s_wvalid = 0;
            while (s_bvalid !== 1) @(negedge aclk);
            @(negedge aclk) s_bready = 0;
        end
    endtask

    task show(input [11:0] address);
        begin
            @(negedge aclk) s_araddr = address; s_arvalid = 1; s_rready = 1;
            while (s_arready !== 1) @(negedge aclk);
            @(negedge aclk) s_arvalid = 0;
            while (s_rvalid !== 1) @(negedge aclk);
            $display("%h", s_rdata);
            @(negedge aclk) s_rready = 0;
        end
    endtask

    initial begin
        $readmemh("dram.hex", dram);
        repeat (4) @(negedge aclk);
        aresetn = 1;
        show(`POST_CYCLES);
        put(`BASE_LO, `BASE); put(`BASE_HI, 0); put(`SIZE_REGISTER, `SIZE); put(`CMD_OFFSET_REGISTER, `CMD_OFFSET);
        put(`CMD_COUNT_REGISTER, `CMD_COUNT); put(`WATCHDOG, 5000); put(`IRQ_ENABLE, 3); put(`CTRL, 1);
        while (irq !== 1) @(negedge aclk);
        show(`STATUS);
        show(`POST_CYCLES);
        $writememh("out.hex", dram);
        $finish;
    end
    initial begin
        #4000000 $display("no end");
        $finish;
    end
endmodule
