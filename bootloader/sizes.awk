# Code and RAM of each module in a linked image, which was optimized as a whole: from
#   readelf -sW <objects>; nm -n -S -l boot.elf; size -A boot.elf
# in this order. What is inlined counts where it went. A function's module is that of its source file
# (src: the bootloader's folder), a variable's or table's that of the object (out: their folder) which
# defines the name. Code counts all that is stored in flash. Texts and padding, without symbols, are what
# is left (core/texts).
function hex(text,    value, i) {
    value = 0
    for (i = 1; i <= length(text); i++) value = value * 16 + index("0123456789abcdef", substr(text, i, 1)) - 1
    return value
}
function plain(name) {
    sub(/\.(lto_priv|constprop|isra|part)\..*/, "", name)
    sub(/\.[0-9]+$/, "", name)
    return name
}
function module_of_source(file,    part) {
    part = index(file, src "src/") == 1 ? "core/" : index(file, src "arch/") == 1 ? "arch/" : "board/"
    sub(/.*\//, "", file)
    sub(/\..*/, "", file)
    return part file
}
function add(module, kind, size,    part) {
    part = module
    sub(/\/.*/, "", part)
    if (kind ~ /[tTrRdD]/) { code[module] += size; total_code[part] += size; known += size }
    if (kind ~ /[bBdD]/) { ram[module] += size; total_ram[part] += size }
    seen[module] = 1
}
# File: path/core/heap.o
$1 == "File:" {
    object = $2
    sub(out, "", object)
    sub(/\.o$/, "", object)
    next
}
#     12: 00000000    32 OBJECT  LOCAL  DEFAULT   61 traps.0
$4 == "OBJECT" && $7 != "UND" { where[plain($8)] = object; next }
$3 == "__hf_boot_base" { services = hex($1) + 1024 }
# 00004028 00000438 T hf_do_begin<TAB>/path/src/begin.c:151
length($1) == 8 && $2 ~ /^[0-9a-f]+$/ && length($2) == 8 {
    start = hex($1)
    size = hex($2)
    if (start + size <= reached) next # an entry within another
    if (start < reached) { size -= reached - start; start = reached }
    reached = start + size
    if (start < services) low += size
    if (NF > 4) add(module_of_source($5), $3, size)
    else if (plain($4) in where) add(where[plain($4)], $3, size)
    else add("libgcc", $3, size)
    next
}
$1 == ".boot" || $1 == ".data" { image += $2 }
END {
    format = "%-20s %6d %6d\n"
    printf "%-20s %6s %6s\n", "module", "code", "ram"
    table = 1024 - low # up to the services, at their fixed place
    texts = image - known - table
    add("core/texts", "r", texts)
    sort = "sort"
    for (module in seen) printf format, module, code[module], ram[module] | sort
    close(sort)
    printf format, "vector table", table, 0
    for (part in total_code) if (part != "board") { all += total_code[part]; all_ram += total_ram[part] }
    printf format, "core", total_code["core"], total_ram["core"]
    printf format, "without the board", all + table, all_ram
}
