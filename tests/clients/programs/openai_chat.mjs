// Chat completions with the openai package: a stream, a tool that the runner calls, an object. Knows `client`, `model`.
const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const said = client.chat.completions.stream({
  model,
  messages: [{ role: "user", content: "Hello" }],
  stream_options: { include_usage: true },
});
const spoken = await said.finalChatCompletion();

const calls = [];
const get_weather = (given) => (calls.push(["get_weather", given]), "Sunny");
const runner = client.chat.completions.runTools({
  model,
  stream: true,
  messages: [{ role: "user", content: "Use get_weather with city=Paris" }],
  tools: [
    { type: "function", function: { name: "get_weather", parse: JSON.parse, parameters, function: get_weather } },
  ],
});
const answer = await runner.finalContent();

const shape = { ...parameters, additionalProperties: false };
const shaped = await client.chat.completions.create({
  model,
  messages: [{ role: "user", content: "Tell me of city=Paris" }],
  response_format: { type: "json_schema", json_schema: { name: "place", strict: true, schema: shape } },
});

console.log(
  JSON.stringify({
    text: spoken.choices[0].message.content,
    finish: spoken.choices[0].finish_reason,
    input: spoken.usage.prompt_tokens,
    output: spoken.usage.completion_tokens,
    calls,
    answer,
    object: JSON.parse(shaped.choices[0].message.content),
  }),
);
