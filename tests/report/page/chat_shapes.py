"""Chat messages as SDKs and frameworks write them, each with how it reads: a line for each part of a message.

`ROLE|KIND NAME|VALUE`; a message without parts is `ROLE||`. Other entries of the value are left out.
"""

from __future__ import annotations

from typing import Any, Final

from tests.helpers.report_rows import PIXEL

_PNG: Final = PIXEL.partition(",")[2]
_CALL: Final = '{"id":7}'

SHAPES: Final[dict[str, tuple[Any, list[str]]]] = {
    # https://platform.openai.com/docs/api-reference/chat
    "openai chat, request": (
        {
            "model": "gpt-4o",
            "messages": [
                {"role": "developer", "content": "Be brief."},
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "What is this?"},
                        {"type": "image_url", "image_url": {"url": PIXEL}},
                        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
                    ],
                },
                {
                    "role": "assistant",
                    "content": None,
                    "refusal": None,
                    "tool_calls": [
                        {"id": "c1", "type": "function", "function": {"name": "stock", "arguments": _CALL}},
                    ],
                },
                {"role": "tool", "tool_call_id": "c1", "content": '{"left": 3}'},
            ],
            "tools": [{"type": "function", "function": {"name": "stock", "parameters": {"type": "object"}}}],
        },
        [
            "developer|text|Be brief.",
            "user|text|What is this?",
            f"user|image|{PIXEL}",
            'user|json|{"type":"image_url","image_url":{"url":"https://example.com/a.png"}}',
            f"assistant|call stock|{_CALL}",
            'tool|text|{"left": 3}',
        ],
    ),
    "openai chat, answer": (
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "model": "gpt-4o",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": "A pixel.", "refusal": None, "annotations": []},
                    "logprobs": None,
                    "finish_reason": "stop",
                },
                {
                    "index": 1,
                    "message": {
                        "role": "assistant",
                        "content": None,
                        "tool_calls": [
                            {"id": "c1", "type": "function", "function": {"name": "stock", "arguments": _CALL}}
                        ],
                    },
                    "finish_reason": "tool_calls",
                },
            ],
            "usage": {"prompt_tokens": 9, "completion_tokens": 3},
        },
        ["assistant|text|A pixel.", f"assistant|call stock|{_CALL}"],
    ),
    "openai chat, functions of 2023": (
        [
            {"role": "assistant", "content": None, "function_call": {"name": "stock", "arguments": _CALL}},
            {"role": "function", "name": "stock", "content": "3"},
        ],
        [f"assistant|call stock|{_CALL}", "function|text|3"],
    ),
    # DeepSeek and LiteLLM have what the model thinks beside the content.
    "openai chat, with thoughts": (
        {"role": "assistant", "content": "3 are left.", "reasoning_content": "Look it up."},
        ["assistant|thinking|Look it up.", "assistant|text|3 are left."],
    ),
    # https://platform.openai.com/docs/api-reference/responses
    "openai responses, request": (
        {
            "instructions": "Be brief.",
            "input": [
                {
                    "role": "user",
                    "content": [
                        {"type": "input_text", "text": "What is this?"},
                        {"type": "input_image", "image_url": PIXEL},
                    ],
                },
                {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "stock", "arguments": _CALL},
                {"type": "function_call_output", "call_id": "c1", "output": '{"left":3}'},
            ],
            "tools": [{"type": "function", "name": "stock", "parameters": {"type": "object"}}],
        },
        [
            "system|text|Be brief.",
            "user|text|What is this?",
            f"user|image|{PIXEL}",
            f"assistant|call stock|{_CALL}",
            'tool|result|{"left":3}',
        ],
    ),
    "openai responses, output": (
        [
            {"id": "rs_1", "type": "reasoning", "summary": [{"type": "summary_text", "text": "Look it up."}]},
            {
                "id": "ws_1",
                "type": "web_search_call",
                "status": "completed",
                "action": {"type": "search", "query": "q"},
            },
            {
                "id": "msg_1",
                "type": "message",
                "role": "assistant",
                "status": "completed",
                "content": [{"type": "output_text", "text": "One moment.", "annotations": []}],
            },
            {"id": "fc_1", "type": "function_call", "call_id": "c1", "name": "stock", "arguments": _CALL},
        ],
        [
            'assistant|thinking|[{"type":"summary_text","text":"Look it up."}]',
            "assistant|call|undefined",
            "assistant|text|One moment.",
            f"assistant|call stock|{_CALL}",
        ],
    ),
    # As langfuse.openai records an answer of one item.
    "openai responses, one item": (
        {
            "id": "fc_1",
            "type": "function_call",
            "call_id": "c1",
            "name": "stock",
            "arguments": _CALL,
            "status": "completed",
        },
        [f"assistant|call stock|{_CALL}"],
    ),
    "openai responses, answer": (
        {
            "id": "resp_1",
            "object": "response",
            "instructions": None,
            "output": [
                {"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": "I can't."}]}
            ],
        },
        ["assistant|text|I can't."],
    ),
    # https://docs.anthropic.com/en/api/messages
    "anthropic, request": (
        {
            "model": "claude-sonnet-4-5",
            "max_tokens": 100,
            "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": _PNG}},
                        {"type": "text", "text": "What is this?"},
                    ],
                },
                {
                    "role": "assistant",
                    "content": [
                        {"type": "thinking", "thinking": "Look it up.", "signature": "EqQB"},
                        {"type": "tool_use", "id": "tu_1", "name": "stock", "input": {"id": 7}},
                    ],
                },
                {
                    "role": "user",
                    "content": [
                        {"type": "tool_result", "tool_use_id": "tu_1", "content": [{"type": "text", "text": "3 left"}]}
                    ],
                },
            ],
        },
        [
            "system|text|Be brief.",
            f"user|image|{PIXEL}",
            "user|text|What is this?",
            "assistant|thinking|Look it up.",
            f"assistant|call stock|{_CALL}",
            'user|result|[{"type":"text","text":"3 left"}]',
        ],
    ),
    "anthropic, answer": (
        {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "claude-sonnet-4-5",
            "content": [{"type": "text", "text": "3 are left."}],
            "stop_reason": "end_turn",
            "usage": {"input_tokens": 9},
        },
        ["assistant|text|3 are left."],
    ),
    "anthropic, content of an answer": (
        [
            {"type": "thinking", "thinking": "hm", "signature": "Eq"},
            {"type": "text", "text": "done"},
            {"type": "tool_use", "id": "tu_1", "name": "stock", "input": {"id": 7}},
        ],
        ["|thinking|hm", "|text|done", f"|call stock|{_CALL}"],
    ),
    "anthropic, only a call": (
        [{"type": "tool_use", "id": "tu_1", "name": "stock", "input": {"id": 7}}],
        [f"assistant|call stock|{_CALL}"],
    ),
    # https://ai.google.dev/api/generate-content
    "gemini, request": (
        {
            "systemInstruction": {"parts": [{"text": "Be brief."}]},
            "contents": [
                {
                    "role": "user",
                    "parts": [{"text": "What is this?"}, {"inlineData": {"mimeType": "image/png", "data": _PNG}}],
                },
                {
                    "role": "model",
                    "parts": [{"functionCall": {"name": "stock", "args": {"id": 7}}, "thoughtSignature": "Cg"}],
                },
                {"role": "user", "parts": [{"functionResponse": {"name": "stock", "response": {"left": 3}}}]},
            ],
            "tools": [{"functionDeclarations": [{"name": "stock"}]}],
        },
        [
            "system|text|Be brief.",
            "user|text|What is this?",
            f"user|image|{PIXEL}",
            f"model|call stock|{_CALL}",
            'user|result stock|{"left":3}',
        ],
    ),
    "gemini, contents without a role": ([{"parts": [{"text": "How does it work?"}]}], ["|text|How does it work?"]),
    "gemini, answer": (
        {
            "candidates": [
                {
                    "content": {
                        "role": "model",
                        "parts": [{"text": "Look.", "thought": True}, {"text": "3 are left."}],
                    },
                    "finishReason": "STOP",
                    "index": 0,
                }
            ],
            "usageMetadata": {"promptTokenCount": 9},
            "modelVersion": "gemini-2.5-flash",
        },
        ["model|thinking|Look.", "model|text|3 are left."],
    ),
    # As google-genai dumps it in Python.
    "gemini, in snake case": (
        {
            "contents": [
                {"role": "model", "parts": [{"function_call": {"id": None, "name": "stock", "args": {"id": 7}}}]},
                {
                    "role": "user",
                    "parts": [
                        {"function_response": {"name": "stock", "response": {"left": 3}}},
                        {"inline_data": {"mime_type": "image/png", "data": _PNG}},
                    ],
                },
            ]
        },
        [f"model|call stock|{_CALL}", 'user|result stock|{"left":3}', f"user|image|{PIXEL}"],
    ),
    # langchain-core 1.8.3: model_dump(), as states of LangGraph hold it.
    "langgraph, state": (
        {
            "messages": [
                {
                    "content": "What is left?",
                    "additional_kwargs": {},
                    "response_metadata": {},
                    "type": "human",
                    "name": None,
                    "id": "1",
                },
                {
                    "content": "",
                    "additional_kwargs": {},
                    "response_metadata": {"model_name": "gpt-4o"},
                    "type": "ai",
                    "name": None,
                    "id": "2",
                    "tool_calls": [{"name": "stock", "args": {"id": 7}, "id": "c1", "type": "tool_call"}],
                    "invalid_tool_calls": [],
                    "usage_metadata": None,
                },
                {
                    "content": "3 left",
                    "additional_kwargs": {},
                    "response_metadata": {},
                    "type": "tool",
                    "name": "stock",
                    "id": "3",
                    "tool_call_id": "c1",
                    "artifact": None,
                    "status": "success",
                },
            ],
            "remaining_steps": 24,
        },
        ["human|text|What is left?", f"ai|call stock|{_CALL}", "tool|text|3 left"],
    ),
    "langchain, anthropic's blocks": (
        [
            [
                {
                    "content": [
                        {"type": "text", "text": "Let me look."},
                        {"type": "tool_use", "id": "tu_1", "name": "stock", "input": {"id": 7}},
                    ],
                    "additional_kwargs": {},
                    "response_metadata": {},
                    "type": "ai",
                    "name": None,
                    "id": None,
                    "usage_metadata": None,
                    "tool_calls": [{"name": "stock", "args": {"id": 7}, "id": "tu_1", "type": "tool_call"}],
                    "invalid_tool_calls": [],
                }
            ]
        ],
        ["ai|text|Let me look.", f"ai|call stock|{_CALL}"],
    ),
    "langchain, dumpd()": (
        [
            {
                "lc": 1,
                "type": "constructor",
                "id": ["langchain", "schema", "messages", "HumanMessage"],
                "kwargs": {"content": "What is left?", "type": "human"},
            },
            {
                "lc": 1,
                "type": "constructor",
                "id": ["langchain", "schema", "messages", "SystemMessage"],
                "kwargs": {"content": "Hi"},
            },
        ],
        ["human|text|What is left?", "SystemMessage|text|Hi"],
    ),
    "langchain, message_to_dict()": (
        {"type": "human", "data": {"content": "What is left?", "additional_kwargs": {}, "type": "human", "name": None}},
        ["human|text|What is left?"],
    ),
    "langchain, generations": (
        {
            "generations": [
                [
                    {
                        "text": "3",
                        "generation_info": {"finish_reason": "stop"},
                        "type": "ChatGeneration",
                        "message": {"content": "3", "type": "ai", "id": "run-1"},
                    }
                ]
            ],
            "llm_output": None,
        },
        ["ai|text|3"],
    ),
    # As @observe records the arguments of a function.
    "arguments of a function": (
        {"args": [[{"role": "user", "content": "hi"}]], "kwargs": {}},
        [],
    ),
    # pydantic-ai 2.62: ModelMessagesTypeAdapter.dump_json().
    "pydantic-ai": (
        [
            {
                "parts": [
                    {"content": "Be brief.", "timestamp": "2026-11-27T20:36:22Z", "part_kind": "system-prompt"},
                    {
                        "content": ["What is this?", {"data": _PNG, "media_type": "image/png", "kind": "binary"}],
                        "timestamp": "2026-11-27T20:36:22Z",
                        "part_kind": "user-prompt",
                    },
                ],
                "instructions": None,
                "kind": "request",
            },
            {
                "parts": [
                    {"content": "hm", "id": None, "signature": None, "part_kind": "thinking"},
                    {"tool_name": "stock", "args": {"id": 7}, "tool_call_id": "c1", "part_kind": "tool-call"},
                ],
                "usage": {"input_tokens": 9},
                "model_name": "gpt-4o",
                "kind": "response",
            },
            {
                "parts": [
                    {"tool_name": "stock", "content": {"left": 3}, "tool_call_id": "c1", "part_kind": "tool-return"}
                ],
                "kind": "request",
            },
            {"parts": [{"content": "3 are left.", "part_kind": "text"}], "kind": "response"},
        ],
        [
            "request|text|Be brief.",
            "request|text|What is this?",
            f"request|image|{PIXEL}",
            "response|thinking|hm",
            f"response|call stock|{_CALL}",
            'request|result stock|{"left":3}',
            "response|text|3 are left.",
        ],
    ),
    # https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-input-messages.json
    "opentelemetry's gen_ai": (
        [
            {"role": "user", "parts": [{"type": "text", "content": "What is left?"}]},
            {
                "role": "assistant",
                "parts": [
                    {"type": "reasoning", "content": "hm"},
                    {"type": "tool_call", "id": "c1", "name": "stock", "arguments": {"id": 7}},
                ],
            },
            {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c1", "response": {"left": 3}}]},
            {"role": "assistant", "parts": [{"type": "text", "content": "3 are left."}], "finish_reason": "stop"},
        ],
        [
            "user|text|What is left?",
            "assistant|thinking|hm",
            f"assistant|call stock|{_CALL}",
            'tool|result|{"left":3}',
            "assistant|text|3 are left.",
        ],
    ),
    # https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html
    "bedrock converse, request": (
        {
            "system": [{"text": "Be brief."}],
            "messages": [
                {
                    "role": "user",
                    "content": [{"text": "What is this?"}, {"image": {"format": "png", "source": {"bytes": _PNG}}}],
                },
                {
                    "role": "assistant",
                    "content": [{"toolUse": {"toolUseId": "tu_1", "name": "stock", "input": {"id": 7}}}],
                },
                {
                    "role": "user",
                    "content": [
                        {"toolResult": {"toolUseId": "tu_1", "content": [{"text": "3 left"}], "status": "success"}}
                    ],
                },
            ],
        },
        [
            "system|text|Be brief.",
            "user|text|What is this?",
            f"user|image|{PIXEL}",
            f"assistant|call stock|{_CALL}",
            'user|result|[{"text":"3 left"}]',
        ],
    ),
    "bedrock converse, answer": (
        {"output": {"message": {"role": "assistant", "content": [{"text": "3 are left."}]}}, "stopReason": "end_turn"},
        ["assistant|text|3 are left."],
    ),
    # https://docs.llamaindex.ai: ChatMessage
    "llamaindex": (
        [
            {"role": "user", "additional_kwargs": {}, "blocks": [{"block_type": "text", "text": "What is left?"}]},
            {
                "role": "assistant",
                "additional_kwargs": {},
                "blocks": [
                    {"block_type": "tool_call", "tool_call_id": "c1", "tool_name": "stock", "tool_kwargs": {"id": 7}}
                ],
            },
        ],
        ["user|text|What is left?", f"assistant|call stock|{_CALL}"],
    ),
    # https://ai-sdk.dev/docs/reference/ai-sdk-core/model-message
    "vercel ai": (
        [
            {"role": "user", "content": [{"type": "text", "text": "What is left?"}]},
            {
                "role": "assistant",
                "content": [
                    {"type": "reasoning", "text": "hm"},
                    {"type": "tool-call", "toolCallId": "c1", "toolName": "stock", "input": {"id": 7}},
                ],
            },
            {
                "role": "tool",
                "content": [
                    {
                        "type": "tool-result",
                        "toolCallId": "c1",
                        "toolName": "stock",
                        "output": {"type": "json", "value": {"left": 3}},
                    }
                ],
            },
        ],
        [
            "user|text|What is left?",
            "assistant|thinking|hm",
            f"assistant|call stock|{_CALL}",
            'tool|result stock|{"type":"json","value":{"left":3}}',
        ],
    ),
    # https://github.com/ollama/ollama/blob/main/docs/api.md
    "ollama": (
        {
            "model": "llama3.2",
            "message": {
                "role": "assistant",
                "content": "",
                "tool_calls": [{"function": {"name": "stock", "arguments": {"id": 7}}}],
            },
            "done": True,
        },
        [f"assistant|call stock|{_CALL}"],
    ),
    # https://modelcontextprotocol.io: CallToolResult
    "mcp": ({"content": [{"type": "text", "text": "3 left"}], "isError": False}, ["|text|3 left"]),
}

#: What is no chat, however like one it looks.
NO_CHATS: Final[dict[str, Any]] = {
    "documents": [{"text": "doc one", "score": 0.5}, {"text": "doc two", "score": 0.25}],
    "search results": [{"type": "search_result", "content": "doc one", "title": "a"}],
    "definitions of tools": [{"type": "function", "function": {"name": "stock", "parameters": {}}}],
    "tools of responses": [{"type": "function", "name": "stock", "parameters": {}}],
    "texts": ["hi", "there"],
    "an empty list": [],
    "a role": {"role": "user"},
    "roles": [{"role": "user", "content": "hi"}, {"role": 9, "content": "there"}],
    "an input": {"input": "hi", "output": "there"},
    "a message": {"message": "hi"},
    "an event": {"type": "click", "content": "hi"},
    "a mixture": [{"role": "user", "content": "hi"}, 5],
    "deep": [[[[[[[[{"role": "user", "content": "hi"}]]]]]]]],
}
