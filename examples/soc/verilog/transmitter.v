// The sending half of a UART: 8 bits, no parity, one stop bit.
module transmitter #(parameter DIVISOR = 8) (
    input clk, input reset,
    input write, input [7:0] data,      // while not busy
    output busy, output serial
);
    reg [9:0] bits;                     // stop bit, data, start bit
    reg [3:0] left;
    reg [15:0] wait_cycles;
    assign busy = left != 0;
    assign serial = bits[0] || !busy;

    always @(posedge clk)
        if (reset) left <= 0;
        else if (!busy) begin
            bits <= {1'b1, data, 1'b0};
            left <= write ? 10 : 0;
            wait_cycles <= DIVISOR - 1;
        end else if (wait_cycles != 0) wait_cycles <= wait_cycles - 1;
        else begin
            bits <= bits >> 1;
            left <= left - 1;
            wait_cycles <= DIVISOR - 1;
        end
endmodule
