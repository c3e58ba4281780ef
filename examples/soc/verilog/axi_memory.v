// Memory with two ports: one for a processor, and one that is an AXI4 slave of incrementing bursts. A beat of a write
// goes before one of a read; one burst of each at a time.
module axi_memory #(parameter WORDS = 1 << 18, FILE = "memory.hex") (
    input clk, input reset,

    input             enable,
    input      [3:0]  write,            // of each byte
    input      [29:0] address,          // of words
    input      [31:0] data,
    output reg [31:0] q,                // a cycle later

    input             arvalid, output arready, input [31:0] araddr, input [7:0] arlen,
    output reg        rvalid, input rready, output reg [31:0] rdata, output reg rlast,
    input             awvalid, output awready, input [31:0] awaddr, input [7:0] awlen,
    input             wvalid, output wready, input [31:0] wdata, input [3:0] wstrb,
    output reg        bvalid, input bready
);
    localparam BITS = $clog2(WORDS);
    reg [31:0] words [0:WORDS - 1];
    initial $readmemh(FILE, words);

    integer lane;
    wire [BITS - 1:0] place = address[BITS - 1:0];
    always @(posedge clk) if (enable) begin
        q <= words[place];
        for (lane = 0; lane < 4; lane = lane + 1)
            if (write[lane]) words[place][8 * lane +: 8] <= data[8 * lane +: 8];
    end

    reg reading, writing;
    reg [7:0] reads_left, writes_left;
    reg [BITS - 1:0] read_place, write_place;
    assign arready = !reading;
    assign awready = !writing && !bvalid;
    assign wready = writing;
    wire take = writing && wvalid;
    wire give = reading && !take && (!rvalid || rready);

    always @(posedge clk)
        if (take) begin
            for (lane = 0; lane < 4; lane = lane + 1)
                if (wstrb[lane]) words[write_place][8 * lane +: 8] <= wdata[8 * lane +: 8];
        end else if (give)
            rdata <= words[read_place];

    always @(posedge clk)
        if (reset) {reading, writing, rvalid, bvalid} <= 0;
        else begin
            if (arvalid && arready) begin
                reading <= 1;
                read_place <= araddr[2 +: BITS];
                reads_left <= arlen;
            end
            if (rready) rvalid <= 0;
            if (give) begin
                rvalid <= 1;
                rlast <= reads_left == 0;
                reading <= reads_left != 0;
                read_place <= read_place + 1;
                reads_left <= reads_left - 1;
            end
            if (awvalid && awready) begin
                writing <= 1;
                write_place <= awaddr[2 +: BITS];
                writes_left <= awlen;
            end
            if (bready) bvalid <= 0;
            if (take) begin
                write_place <= write_place + 1;
                writes_left <= writes_left - 1;
                writing <= writes_left != 0;
                bvalid <= writes_left == 0;
            end
        end
endmodule
