// A test harness of one page: tests register themselves, the first failed check ends its test with file, line and values.
#pragma once

#include <cstdint>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace testing {

struct Test {
    const char* name;
    void (*run)();
};

inline std::vector<Test>& registry() {
    static std::vector<Test> tests;
    return tests;
}

struct Registration {
    Registration(const char* name, void (*run)()) { registry().push_back({name, run}); }
};

struct Failure : std::runtime_error {
    using std::runtime_error::runtime_error;
};

[[noreturn]] inline void fail(const char* file, int line, const std::string& message) {
    throw Failure(std::string(file) + ":" + std::to_string(line) + ": " + message);
}

// Random numbers that are the same on every platform and library (std's distributions are not): SplitMix64.
class Random {
public:
    explicit Random(uint64_t seed) : state_(seed) {}

    uint64_t bits() {
        uint64_t z = (state_ += 0x9E3779B97F4A7C15u);
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
        return z ^ (z >> 31);
    }
    double uniform(double low, double high) { return low + (high - low) * static_cast<double>(bits() >> 11) * 0x1.0p-53; }
    // low <= result <= high
    int64_t integer(int64_t low, int64_t high) {
        return low + static_cast<int64_t>(bits() % static_cast<uint64_t>(high - low + 1));
    }

private:
    uint64_t state_;
};

}  // namespace testing

#define TEST(name)                                                     \
    static void name();                                                \
    static const testing::Registration name##_registered(#name, name); \
    static void name()

// `values` is streamed into the message: CHECK(a == b, "a=" << a << " b=" << b).
#define CHECK(condition, values)                                        \
    do {                                                                \
        if (!(condition)) {                                             \
            std::ostringstream check_stream;                            \
            check_stream.precision(17);                                 \
            check_stream << "CHECK(" #condition ") failed: " << values; \
            testing::fail(__FILE__, __LINE__, check_stream.str());      \
        }                                                               \
    } while (false)

// The expression must throw std::invalid_argument whose message contains `text`.
#define CHECK_REFUSED(expression, text)                                                                           \
    do {                                                                                                          \
        std::string refusal;                                                                                      \
        try {                                                                                                     \
            (void)(expression);                                                                                   \
        } catch (const std::invalid_argument& error) {                                                            \
            refusal = error.what();                                                                               \
        }                                                                                                         \
        CHECK(refusal.find(text) != std::string::npos, "wanted std::invalid_argument with \""                     \
                                                           << (text) << "\", got "                                \
                                                           << (refusal.empty() ? "no such exception" : refusal)); \
    } while (false)
