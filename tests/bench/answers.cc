// Renders the benchmark backend's answers. Knows what the bytes look like and
// nothing about who asks for them.

#include "answers.h"

#include <cstdio>

#include "stamp.h"

namespace llmproxy
{

namespace
{

// How a server writes its heads.
struct Server {
    const char *always;
    const char *length;
    const char *type;
    const char *json;
    const char *chunked;
};
constexpr Server kUvicorn = {
    "date: Tue, 24 Nov 2026 12:00:00 GMT\r\nserver: uvicorn\r\n",
    "content-length: ", "content-type: ", "application/json",
    "transfer-encoding: chunked"};
constexpr Server kOllama = {
    "Date: Tue, 24 Nov 2026 12:00:00 GMT\r\n",
    "Content-Length: ", "Content-Type: ", "application/json; charset=utf-8",
    "Transfer-Encoding: chunked"};

std::string whole(const Server &server, std::string_view status,
                  std::string_view body)
{
    std::string answer = "HTTP/1.1 ";
    answer.append(status).append("\r\n").append(server.always);
    answer.append(server.length).append(std::to_string(body.size()));
    answer.append("\r\n").append(server.type).append(server.json);
    answer.append("\r\n\r\n").append(body);
    return answer;
}

std::string stream_head(const Server &server, std::string_view type)
{
    std::string head = "HTTP/1.1 200 OK\r\n";
    head.append(server.always).append(server.type).append(type);
    head.append("\r\n").append(server.chunked).append("\r\n\r\n");
    return head;
}

std::string chunk(std::string_view data)
{
    char size[24];
    static_cast<void>(snprintf(size, sizeof(size), "%zx\r\n", data.size()));
    std::string framed = size;
    framed.append(data);
    framed += "\r\n";
    return framed;
}

std::string vllm_event(std::string_view delta, std::string_view finish)
{
    std::string event =
        "data: {\"id\":\"chatcmpl-5f0c8f3f6f0e4a6c9d0b2a\",\"object\":"
        "\"chat.completion.chunk\",\"created\":1795521600,\"model\":\"bench\","
        "\"choices\":[{\"index\":0,\"delta\":{";
    event.append(delta);
    event += "},\"finish_reason\":";
    event.append(finish);
    event += "}]}\n\n";
    return event;
}

std::string ollama_line(std::string_view content, std::string_view rest)
{
    std::string line = "{\"model\":\"bench\",\"created_at\":"
                       "\"2026-11-24T12:00:00.123456789Z\",\"message\":"
                       "{\"role\":\"assistant\",\"content\":\"";
    line.append(content);
    line += "\"},";
    line.append(rest);
    line += "}\n";
    return line;
}

constexpr std::string_view kWord = "\"content\":\" about this\"";
constexpr std::string_view kOllamaEnd =
    "\"done\":true,\"done_reason\":\"stop\",\"total_duration\":174560334,"
    "\"load_duration\":101397084,\"prompt_eval_count\":42,"
    "\"prompt_eval_duration\":13074791,\"eval_count\":200,"
    "\"eval_duration\":52479709";
// About 300 bytes, so that a whole answer is about 600.
constexpr std::string_view kText =
    "A reverse proxy takes a request from a client, hands it to the server "
    "that can answer it, and returns the answer as if it were its own. What "
    "it adds on the way is control: who may ask, how often, and which of "
    "several servers is asked. The good ones are not noticed at all, until "
    "they are gone.";

// As Ollama prints them: floats of a vector of length 1.
std::string embeddings()
{
    std::string body = "{\"model\":\"bench\",\"embeddings\":[";
    uint32_t state = 1;
    for (int i = 0; i < kEmbeddings; i++) {
        body += i == 0 ? "[" : ",[";
        for (int j = 0; j < kDimensions; j++) {
            state = state * 1664525 + 1013904223;
            char number[32];
            static_cast<void>(snprintf(
                number, sizeof(number), j == 0 ? "%.8g" : ",%.8g",
                (static_cast<double>(state >> 8) / (1 << 24) - 0.5) / 16));
            body += number;
        }
        body += ']';
    }
    return body + "],\"total_duration\":14143917,\"load_duration\":1019500,"
                  "\"prompt_eval_count\":2048}";
}

} // namespace

Answers::Answers(uint64_t pieces)
{
    std::string text(kText);
    vllm_chat =
        whole(kUvicorn, "200 OK",
              "{\"id\":\"chatcmpl-5f0c8f3f6f0e4a6c9d0b2a\",\"object\":"
              "\"chat.completion\",\"created\":1795521600,\"model\":\"bench\","
              "\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\","
              "\"content\":\"" +
                  text +
                  "\",\"tool_calls\":[]},\"logprobs\":null,"
                  "\"finish_reason\":\"stop\",\"stop_reason\":null}],"
                  "\"usage\":{\"prompt_tokens\":42,\"total_tokens\":112,"
                  "\"completion_tokens\":70}}");
    ollama_chat = whole(kOllama, "200 OK", ollama_line(text, kOllamaEnd));
    vllm_models = whole(kUvicorn, "200 OK",
                        "{\"object\":\"list\",\"data\":[{\"id\":\"bench\","
                        "\"object\":\"model\",\"created\":1795521600,"
                        "\"owned_by\":\"vllm\"}]}");
    ollama_models =
        whole(kOllama, "200 OK",
              "{\"models\":[{\"name\":\"bench:latest\",\"model\":"
              "\"bench:latest\",\"modified_at\":"
              "\"2026-11-24T12:00:00.123456789Z\",\"size\":2019393189}]}");
    not_found = whole(kUvicorn, "404 Not Found", "{\"detail\":\"Not Found\"}");

    paced_head = stream_head(kUvicorn, "text/event-stream; charset=utf-8");
    const std::string stamped = " " + std::string(kNoStamp);
    paced_piece = chunk(vllm_event("\"content\":\"" + stamped + "\"", "null"));
    paced_end = chunk(vllm_event("", "\"stop\"")) + chunk("data: [DONE]\n\n") +
                "0\r\n\r\n";

    ollama_paced_head = stream_head(kOllama, "application/x-ndjson");
    ollama_paced_piece = chunk(ollama_line(stamped, "\"done\":false"));
    ollama_paced_end = chunk(ollama_line("", kOllamaEnd)) + "0\r\n\r\n";

    const std::string piece = chunk(vllm_event(kWord, "null"));
    const std::string line =
        chunk(ollama_line(" about this", "\"done\":false"));
    vllm_burst = paced_head;
    ollama_burst = ollama_paced_head;
    for (uint64_t i = 1; i < pieces; i++) {
        vllm_burst += piece;
        ollama_burst += line;
    }
    vllm_burst += paced_end;
    ollama_burst += ollama_paced_end;
    ollama_embed = whole(kOllama, "200 OK", embeddings());
}

} // namespace llmproxy
