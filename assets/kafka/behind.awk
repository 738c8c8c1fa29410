# Reads the response to a Metadata request, version 1, as decimal bytes, and prints the number of partitions whose replica
# on broker `node` is not in sync.
{ for (field = 1; field <= NF; field++) byte[count++] = $field }

function int8() { return byte[at++] }
function int16(value) { value = int8() * 256 + int8(); return value > 32767 ? value - 65536 : value }
function int32(value) {
    value = int8() * 256 + int8()
    value = value * 256 + int8()
    value = value * 256 + int8()
    return value > 2147483647 ? value - 4294967296 : value
}
function skip_string(length_) { length_ = int16(); if (length_ > 0) at += length_ }
# Whether the next array of numbers contains the broker's ID.
function has_node(number, found) {
    found = 0
    for (number = int32(); number > 0; number--) if (int32() == node) found = 1
    return found
}

END {
    at = 4 # after the correlation id
    for (brokers = int32(); brokers > 0; brokers--) {
        int32() # id
        skip_string() # host
        int32() # port
        skip_string() # rack
    }
    int32() # controller
    for (topics = int32(); topics > 0; topics--) {
        int16() # error
        skip_string() # name
        int8() # internal
        for (partitions = int32(); partitions > 0; partitions--) {
            int16() # error
            int32() # partition
            int32() # leader
            replicates = has_node()
            in_sync = has_node()
            if (replicates && !in_sync) behind++
        }
    }
    # A truncated response counts as none.
    if (at != count) { print "incomplete answer" >"/dev/stderr"; exit 1 }
    print behind + 0
}
