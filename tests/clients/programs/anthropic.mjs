// Messages with the @anthropic-ai/sdk package: a stream, a tool, and a forced tool. Knows `client`, `model`.
const input_schema = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const tools = [{ name: "get_weather", description: "A tool.", input_schema }];
const ask = (messages) => client.messages.stream({ model, max_tokens: 1000, messages, tools }).finalMessage();
const text = (message) => message.content.flatMap((block) => (block.type === "text" ? [block.text] : [])).join("");

const spoken = await ask([{ role: "user", content: "Hello" }]);
const history = [{ role: "user", content: "Use get_weather with city=Paris" }];
const asked = await ask(history);
const called = asked.content.filter((block) => block.type === "tool_use");
const results = called.map((block) => ({ type: "tool_result", tool_use_id: block.id, content: "Sunny" }));
const answered = await ask([
  ...history,
  { role: "assistant", content: asked.content },
  { role: "user", content: results },
]);

const shaped = await client.messages.create({
  model,
  max_tokens: 1000,
  messages: [{ role: "user", content: "Tell me of city=Paris" }],
  tools: [{ name: "place", description: "The place.", input_schema }],
  tool_choice: { type: "tool", name: "place" },
});

console.log(
  JSON.stringify({
    text: text(spoken),
    finish: spoken.stop_reason,
    input: spoken.usage.input_tokens,
    output: spoken.usage.output_tokens,
    calls: called.map((block) => [block.name, block.input]),
    answer: text(answered),
    object: shaped.content.find((block) => block.type === "tool_use").input,
  }),
);
