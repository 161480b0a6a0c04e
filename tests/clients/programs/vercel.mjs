// The AI SDK: a stream, a tool that the SDK calls and whose result it sends, and an object. Knows `model`.
import { generateText, Output, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

const fail = { onError: ({ error }) => console.error(error) };
const spoken = streamText({ model, prompt: "Hello", maxRetries: 0, ...fail });
const text = await spoken.text;
const usage = await spoken.totalUsage;

const calls = [];
const get_weather = tool({
  description: "A tool.",
  inputSchema: z.object({ city: z.string() }),
  execute: async (given) => (calls.push(["get_weather", given]), "Sunny"),
});
const answered = streamText({
  model,
  prompt: "Use get_weather with city=Paris",
  tools: { get_weather },
  stopWhen: stepCountIs(3),
  maxRetries: 0,
  ...fail,
});

const output = Output.object({ schema: z.object({ city: z.string() }) });
const shaped = await generateText({ model, prompt: "Tell me of city=Paris", output, maxRetries: 0 });

console.log(
  JSON.stringify({
    text,
    finish: await spoken.finishReason,
    input: usage.inputTokens,
    output: usage.outputTokens,
    calls,
    answer: await answered.text,
    object: shaped.output,
  }),
);
