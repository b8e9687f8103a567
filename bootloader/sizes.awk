# Code and RAM of each module in a linked image, from GNU ld's map file:
#   awk -v out=<output folder>/ -f sizes.awk boot.map
# Code counts everything that is stored in flash, constants included.
function hex(text,    value, i) {
    value = 0
    text = tolower(substr(text, 3))
    for (i = 1; i <= length(text); i++) value = value * 16 + index("0123456789abcdef", substr(text, i, 1)) - 1
    return value
}
function count(size, file) {
    sub(out, "", file)
    if (file !~ /^(core|arch|board)\//) file = "libgcc"
    if (output == ".boot" || output == ".data") code[file] += size
    if (output == ".data" || output == ".bss" || output == ".noinit") ram[file] += size
    if (output == ".boot" || output == ".data" || output == ".bss" || output == ".noinit") seen[file] = 1
}
/^Linker script and memory map/ { body = 1 }
!body { next }
/^\.[a-z]/ { output = $1; next }
/^ \.[^ ]+$/ { pending = 1; next }                         # a long section name: the numbers follow
/^ \.[^ ]+ +0x/ && NF == 4 { if ($1 == ".hf_vectors") table += hex($3); else count(hex($3), $4); pending = 0; next }
pending && /^ +0x/ && NF == 3 { count(hex($2), $3); pending = 0; next }
{ pending = 0 }
END {
    format = "%-20s %6d %6d\n"
    printf "%-20s %6s %6s\n", "module", "code", "ram"
    sort = "sort"
    for (file in seen) {
        printf format, file, code[file], ram[file] | sort
        part = file
        sub(/\/.*/, "", part)
        total_code[part] += code[file]
        total_ram[part] += ram[file]
    }
    close(sort)
    printf format, "vector table", table, 0
    for (part in total_code) if (part != "board") { all += total_code[part]; all_ram += total_ram[part] }
    printf format, "core", total_code["core"], total_ram["core"]
    printf format, "without the board", all + table, all_ram
}
