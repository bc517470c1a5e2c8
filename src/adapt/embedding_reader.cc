// Reads the numbers out of /api/embed's answers. A tree of them would cost
// twenty times their text, and the time to build it would hold the loop up.

#include "embedding_reader.h"

namespace llmproxy
{

namespace
{

bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

bool is_number_byte(char c)
{
    return (c >= '0' && c <= '9') || c == '.' || c == '-' || c == 'e' ||
           c == '+' || c == 'E';
}

size_t number_size(std::string_view text)
{
    size_t size = 0;
    while (size < text.size() && is_number_byte(text[size])) {
        size++;
    }
    return size;
}

} // namespace

bool EmbeddingReader::feed(std::string_view in, std::string &out)
{
    while (!in.empty()) {
        bool ok = true;
        switch (state_) {
        case State::Rest:
            ok = on_rest(in);
            break;
        case State::FirstVector:
        case State::BeforeVector:
        case State::AfterVector:
        case State::FirstNumber:
        case State::BeforeNumber:
        case State::AfterNumber:
            ok = on_structure(in, out);
            break;
        case State::Number:
            ok = on_number(in, out);
            break;
        }
        if (!ok) {
            return false;
        }
    }
    return true;
}

bool EmbeddingReader::on_rest(std::string_view &in)
{
    size_t taken = 0;
    bool ok = true;
    while (ok && state_ == State::Rest && taken < in.size()) {
        ok = on_rest_byte(in[taken++]);
    }
    in.remove_prefix(taken);
    return ok;
}

// Knows strings and depth, and that is enough: where a string at depth 1 has a
// colon behind it, it is a key, or the rest is no JSON, which is seen later.
bool EmbeddingReader::on_rest_byte(char byte)
{
    if (rest_.size() >= kMaxEmbeddingRest) {
        return fail("The backend's answer holds more than 1 MiB beside its "
                    "embeddings.");
    }
    rest_ += byte;
    if (in_string_) {
        if (escaped_) {
            escaped_ = false;
        } else if (byte == '\\') {
            escaped_ = true;
        } else if (byte == '"') {
            in_string_ = false;
            string_end_ = rest_.size() - 1;
        }
        return true;
    }
    if (is_space(byte)) {
        return true;
    }
    const bool at_value = at_value_;
    at_value_ = false;
    switch (byte) {
    case '"':
        in_string_ = true;
        string_begin_ = rest_.size();
        break;
    case ':':
        at_value_ =
            depth_ == 1 &&
            std::string_view(rest_).substr(
                string_begin_, string_end_ - string_begin_) == "embeddings";
        break;
    case '[':
        if (at_value) {
            if (found_) {
                return fail("The backend's answer holds its embeddings twice.");
            }
            found_ = true;
            state_ = State::FirstVector;
            break;
        }
        depth_++;
        break;
    case '{':
        depth_++;
        break;
    case ']':
    case '}':
        depth_--;
        break;
    default:
        break;
    }
    return true;
}

// One byte between numbers; the first byte of a number is left where it is.
bool EmbeddingReader::on_structure(std::string_view &in, std::string &out)
{
    const char byte = in[0];
    const bool vector_may_end =
        state_ == State::FirstNumber || state_ == State::AfterNumber;
    const bool number_may_begin =
        state_ == State::FirstNumber || state_ == State::BeforeNumber;
    const bool list_may_end =
        state_ == State::FirstVector || state_ == State::AfterVector;
    const bool vector_may_begin =
        state_ == State::FirstVector || state_ == State::BeforeVector;
    if (number_may_begin && is_number_byte(byte)) {
        state_ = State::Number;
        return true;
    }
    in.remove_prefix(1);
    if (is_space(byte)) {
        return true;
    }
    if (byte == ',' && state_ == State::AfterNumber) {
        state_ = State::BeforeNumber;
    } else if (byte == ',' && state_ == State::AfterVector) {
        state_ = State::BeforeVector;
    } else if (byte == '[' && vector_may_begin) {
        if (writer_.vectors() == wanted_) {
            return fail(kWrongCount);
        }
        writer_.begin_vector(out);
        state_ = State::FirstNumber;
    } else if (byte == ']' && vector_may_end) {
        writer_.end_vector(out);
        state_ = State::AfterVector;
    } else if (byte == ']' && list_may_end) {
        rest_ += ']';
        state_ = State::Rest;
    } else {
        return fail("The backend's embeddings are not arrays of numbers.");
    }
    return true;
}

bool EmbeddingReader::on_number(std::string_view &in, std::string &out)
{
    const size_t size = number_size(in);
    const std::string_view part = in.substr(0, size);
    if (number_.size() + size > kMaxNumberText) {
        return fail("The backend's embeddings hold a number of more than 1 "
                    "KiB.");
    }
    in.remove_prefix(size);
    if (in.empty()) {
        number_.append(part);
        return true;
    }
    bool ok = true;
    if (number_.empty()) {
        ok = writer_.number(part, out);
    } else {
        number_.append(part);
        ok = writer_.number(number_, out);
        number_.clear();
    }
    state_ = State::AfterNumber;
    return ok || fail("The backend's embeddings hold a number that is not "
                      "one, or that is too large for 32 bits.");
}

bool EmbeddingReader::fail(const char *why)
{
    error_ = why;
    return false;
}

} // namespace llmproxy
