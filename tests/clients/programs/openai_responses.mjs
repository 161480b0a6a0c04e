// Responses with the openai package: a stream, a round trip with a tool, and an object. Knows `client`, `model`.
const parameters = {
  type: "object", properties: { city: { type: "string" } }, required: ["city"], additionalProperties: false,
};
const tools = [{ type: "function", name: "get_weather", strict: true, parameters }];
const ask = (input) => client.responses.stream({ model, input, tools, store: false }).finalResponse();

const spoken = await ask("Hello");
const history = [{ role: "user", content: "Use get_weather with city=Paris" }];
const asked = await ask(history);
const called = asked.output.filter((item) => item.type === "function_call");
const results = called.map((item) => ({ type: "function_call_output", call_id: item.call_id, output: "Sunny" }));
const answered = await ask([...history, ...asked.output, ...results]);

const shaped = await client.responses.create({
  model,
  input: "Tell me of city=Paris",
  text: { format: { type: "json_schema", name: "place", strict: true, schema: parameters } },
});

console.log(
  JSON.stringify({
    text: spoken.output_text,
    finish: spoken.status,
    input: spoken.usage.input_tokens,
    output: spoken.usage.output_tokens,
    calls: called.map((item) => [item.name, JSON.parse(item.arguments)]),
    answer: answered.output_text,
    object: JSON.parse(shaped.output_text),
  }),
);
