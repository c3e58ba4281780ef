// VexRiscv, memory, a UART and the engine. The processor's buses are Wishbone.
//
// 40000000  memory; the processor begins there
// 90000000  registers of the engine
// f0000000  UART: a character (write); whether it is busy (read, f0000004)
module soc(input clk, input reset, output serial_tx);
    wire        i_cyc, i_stb, d_cyc, d_stb, d_we;
    wire [29:0] i_adr, d_adr;
    wire [31:0] d_out;
    wire [3:0]  d_sel;
    wire        irq;

    // What the data bus asks for. Each access takes two cycles or more: the last has the answer.
    reg  i_ack, d_memory_ack, d_uart_ack;
    wire d_engine_ack, d_engine_error;
    wire d_ack = d_memory_ack || d_uart_ack || d_engine_ack;
    wire d_asks = d_cyc && d_stb && !d_ack;
    wire d_memory = d_asks && d_adr[29:26] == 4'h4;
    wire d_engine = d_asks && d_adr[29:26] == 4'h9;
    wire d_uart = d_asks && d_adr[29:26] == 4'hf;
    wire i_memory = i_cyc && i_stb && !i_ack && !d_memory;
    always @(posedge clk) {i_ack, d_memory_ack, d_uart_ack} <= reset ? 3'b0 : {i_memory, d_memory, d_uart};

    wire [31:0] from_memory, from_engine;
    wire        busy;
    VexRiscv cpu (
        .clk(clk), .reset(reset), .externalResetVector(32'h40000000),
        .timerInterrupt(1'b0), .softwareInterrupt(1'b0), .externalInterruptArray({31'b0, irq}),
        .iBusWishbone_CYC(i_cyc), .iBusWishbone_STB(i_stb), .iBusWishbone_ADR(i_adr),
        .iBusWishbone_ACK(i_ack), .iBusWishbone_DAT_MISO(from_memory), .iBusWishbone_ERR(1'b0),
        .iBusWishbone_WE(), .iBusWishbone_DAT_MOSI(), .iBusWishbone_SEL(), .iBusWishbone_CTI(), .iBusWishbone_BTE(),
        .dBusWishbone_CYC(d_cyc), .dBusWishbone_STB(d_stb), .dBusWishbone_ADR(d_adr), .dBusWishbone_WE(d_we),
        .dBusWishbone_DAT_MOSI(d_out), .dBusWishbone_SEL(d_sel),
        .dBusWishbone_ACK(d_ack && !d_engine_error), .dBusWishbone_ERR(d_engine_error),
        .dBusWishbone_DAT_MISO(d_memory_ack ? from_memory : d_uart_ack ? {31'b0, busy} : from_engine),
        .dBusWishbone_CTI(), .dBusWishbone_BTE());

    transmitter uart (
        .clk(clk), .reset(reset), .write(d_uart && d_we && !d_adr[0]), .data(d_out[7:0]), .busy(busy),
        .serial(serial_tx));

    // One access to the registers at a time, as AXI4-Lite has it.
    reg  started, awvalid, wvalid, arvalid;
    wire awready, wready, arready, bvalid, rvalid;
    wire [1:0] bresp, rresp;
    assign d_engine_ack = bvalid || rvalid;
    assign d_engine_error = (bvalid && bresp != 0) || (rvalid && rresp != 0);
    always @(posedge clk)
        if (reset) {started, awvalid, wvalid, arvalid} <= 0;
        else if (d_engine && !started) {started, awvalid, wvalid, arvalid} <= {1'b1, d_we, d_we, !d_we};
        else begin
            if (awready) awvalid <= 0;
            if (wready) wvalid <= 0;
            if (arready) arvalid <= 0;
            if (d_engine_ack) started <= 0;
        end

    wire        m_arvalid, m_arready, m_rvalid, m_rready, m_rlast, m_awvalid, m_awready, m_wvalid, m_wready;
    wire        m_bvalid, m_bready;
    wire [31:0] m_araddr, m_rdata, m_awaddr, m_wdata;
    wire [7:0]  m_arlen, m_awlen;
    wire [3:0]  m_wstrb;
    alloy engine (
        .aclk(clk), .aresetn(!reset), .irq(irq),
        .s_axil_awvalid(awvalid), .s_axil_awready(awready), .s_axil_awaddr({d_adr[9:0], 2'b0}), .s_axil_awprot(3'b0),
        .s_axil_wvalid(wvalid), .s_axil_wready(wready), .s_axil_wdata(d_out), .s_axil_wstrb(d_sel),
        .s_axil_bvalid(bvalid), .s_axil_bready(1'b1), .s_axil_bresp(bresp),
        .s_axil_arvalid(arvalid), .s_axil_arready(arready), .s_axil_araddr({d_adr[9:0], 2'b0}), .s_axil_arprot(3'b0),
        .s_axil_rvalid(rvalid), .s_axil_rready(1'b1), .s_axil_rdata(from_engine), .s_axil_rresp(rresp),
        .m_axi_0_arvalid(m_arvalid), .m_axi_0_arready(m_arready), .m_axi_0_araddr(m_araddr),
        .m_axi_0_arlen(m_arlen), .m_axi_0_arid(), .m_axi_0_arsize(), .m_axi_0_arburst(), .m_axi_0_arlock(),
        .m_axi_0_arcache(), .m_axi_0_arprot(), .m_axi_0_arqos(),
        .m_axi_0_rvalid(m_rvalid), .m_axi_0_rready(m_rready), .m_axi_0_rdata(m_rdata), .m_axi_0_rlast(m_rlast),
        .m_axi_0_rresp(2'b0), .m_axi_0_rid(1'b0),
        .m_axi_0_awvalid(m_awvalid), .m_axi_0_awready(m_awready), .m_axi_0_awaddr(m_awaddr),
        .m_axi_0_awlen(m_awlen), .m_axi_0_awid(), .m_axi_0_awsize(), .m_axi_0_awburst(), .m_axi_0_awlock(),
        .m_axi_0_awcache(), .m_axi_0_awprot(), .m_axi_0_awqos(),
        .m_axi_0_wvalid(m_wvalid), .m_axi_0_wready(m_wready), .m_axi_0_wdata(m_wdata), .m_axi_0_wstrb(m_wstrb),
        .m_axi_0_wlast(), .m_axi_0_bvalid(m_bvalid), .m_axi_0_bready(m_bready), .m_axi_0_bresp(2'b0),
        .m_axi_0_bid(1'b0), .trace_valid(), .trace_event(), .trace_tag());

    axi_memory memory (
        .clk(clk), .reset(reset),
        .enable(i_memory || d_memory), .write(d_memory && d_we ? d_sel : 4'b0), .address(d_memory ? d_adr : i_adr),
        .data(d_out), .q(from_memory),
        .arvalid(m_arvalid), .arready(m_arready), .araddr(m_araddr), .arlen(m_arlen),
        .rvalid(m_rvalid), .rready(m_rready), .rdata(m_rdata), .rlast(m_rlast),
        .awvalid(m_awvalid), .awready(m_awready), .awaddr(m_awaddr), .awlen(m_awlen),
        .wvalid(m_wvalid), .wready(m_wready), .wdata(m_wdata), .wstrb(m_wstrb),
        .bvalid(m_bvalid), .bready(m_bready));
endmodule
