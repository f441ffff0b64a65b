// Calls every method of Ollama's JavaScript client on the server at an address, and prints what came of each as JSON.
//
//     node scripts/javascript/ollama_client.js http://127.0.0.1:8080 MODEL

import { Ollama } from 'ollama';

const [host, model] = process.argv.slice(2);
const client = new Ollama({ host });
const messages = [{ role: 'user', content: 'Hello' }];
const options = { temperature: 0, num_predict: 120 };
const city = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] };
const tools = [{ type: 'function', function: { name: 'get_weather', description: 'Weather of a city', parameters: city } }];
const weather = [{ role: 'user', content: 'What is the weather in Paris?' }];

async function gathered(stream) {
  const parts = [];
  for await (const part of stream) parts.push(part);
  return parts;
}

async function aborted() {
  const stream = await client.generate({ model, prompt: 'Hello', stream: true, options: { num_predict: 100000 } });
  for await (const part of stream) {
    client.abort();
    return part.response;
  }
}

const methods = {
  version: () => client.version(),
  list: () => client.list(),
  ps: () => client.ps(),
  show: () => client.show({ model }),
  chat: () => client.chat({ model, messages, options }),
  chat_streamed: async () => gathered(await client.chat({ model, messages, options, stream: true })),
  calls: async () => gathered(await client.chat({ model, messages: weather, tools, options, stream: true })),
  format: () => client.chat({ model, messages, options, format: city }),
  generate: () => client.generate({ model, prompt: 'Hello', options }),
  generate_streamed: async () => gathered(await client.generate({ model, prompt: 'Hello', options, stream: true })),
  embed: () => client.embed({ model, input: ['Hello', '你好'] }),
  embeddings: () => client.embeddings({ model, prompt: 'Hello' }),
  pull: async () => gathered(await client.pull({ model, stream: true })),
  aborted,
  pull_other: () => client.pull({ model: 'other' }),
  push: () => client.push({ model }),
  create: () => client.create({ model: 'new', from: model }),
  copy: () => client.copy({ source: model, destination: 'other' }),
  delete: () => client.delete({ model }),
  systemone: () => client.systemone({ model, state: 'x', questions: {} }),
  images: () => client.chat({ model, messages: [{ ...messages[0], images: [new Uint8Array([1])] }] }),
};

const came = {};
for (const [name, method] of Object.entries(methods)) {
  came[name] = await method().catch((error) => ({ status: error.status_code, error: error.error ?? String(error) }));
}
console.log(JSON.stringify(came));
