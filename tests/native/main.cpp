// Runs the native tests: `native_tests [PART_OF_A_NAME]`. `native_tests --list-isas` prints the instruction sets that
// this build and processor support; CGFAST_ISA chooses one for a run, since the core reads it once per process.
#include <cstdio>
#include <cstring>
#include <exception>

#include "isa.hpp"
#include "testing.hpp"

namespace {

void list_isas() {
    for (const cgfast::Isa isa : {cgfast::Isa::baseline, cgfast::Isa::avx2, cgfast::Isa::avx512}) {
        if (cgfast::isa_supported(isa)) std::printf("%s\n", cgfast::isa_name(isa));
    }
}

bool passes(const testing::Test& test) {
    try {
        test.run();
        return true;
    } catch (const std::exception& error) {
        std::printf("FAILED %s\n  %s\n", test.name, error.what());
    } catch (...) {
        std::printf("FAILED %s\n  something that is no std::exception\n", test.name);
    }
    return false;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc > 1 && std::strcmp(argv[1], "--list-isas") == 0) {
        list_isas();
        return 0;
    }
    try {
        std::printf("native tests, instruction set %s\n", cgfast::isa_name(cgfast::active_isa()));
    } catch (const std::exception& error) {
        std::printf("%s\n", error.what());
        return 1;
    }
    int passed = 0;
    int failed = 0;
    for (const testing::Test& test : testing::registry()) {
        if (argc > 1 && std::strstr(test.name, argv[1]) == nullptr) continue;
        (passes(test) ? passed : failed) += 1;
        std::fflush(stdout);
    }
    std::printf("%d passed, %d failed\n", passed, failed);
    return failed == 0 && passed > 0 ? 0 : 1;
}
