// One check macro and one message style: what was expected, what came. pybind11 turns the exception into ValueError.
#pragma once

#include <sstream>
#include <stdexcept>

#define CGFAST_CHECK(condition, message)                            \
    do {                                                            \
        if (!(condition)) {                                         \
            std::ostringstream cgfast_check_stream;                 \
            cgfast_check_stream << message;                         \
            throw std::invalid_argument(cgfast_check_stream.str()); \
        }                                                           \
    } while (false)
