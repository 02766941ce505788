// Run a graph model of TensorFlow.js on inputs that lie in files, and write what it gives.
//
//     npm install @tensorflow/tfjs-core@4.22.0 @tensorflow/tfjs-converter@4.22.0 \
//         @tensorflow/tfjs-backend-cpu@4.22.0
//     node run_tfjs.mjs MODULES MODEL.json SHAPE INPUT OUTPUT
//
// MODULES: the folder node_modules. SHAPE: of the input, such as 1,3,416,416. INPUT: float32, as it
// lies in memory; OUTPUT: a JSON object of the model's outputs, {name: {shape, values}}.
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createRequire } from 'node:module';

const [modules, model, shape, input, output] = process.argv.slice(2);
const require = createRequire(join(modules, 'none.js'));
const tf = require('@tensorflow/tfjs-core');
const { GraphModel } = require('@tensorflow/tfjs-converter');
require('@tensorflow/tfjs-backend-cpu');

const described = JSON.parse(readFileSync(model));
const files = described.weightsManifest.flatMap((group) => group.paths);
const bytes = Buffer.concat(files.map((file) => readFileSync(join(dirname(model), file))));
const artifacts = {
  modelTopology: described.modelTopology,
  signature: described.signature,
  format: described.format,
  weightSpecs: described.weightsManifest.flatMap((group) => group.weights),
  weightData: bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength),
};

await tf.setBackend('cpu');
const network = new GraphModel({ load: async () => artifacts });
await network.load();
const raw = readFileSync(input);
const given = new Float32Array(raw.buffer.slice(raw.byteOffset, raw.byteOffset + raw.byteLength));
let tensor = tf.tensor(given, shape.split(',').map(Number));
if (network.inputs[0].dtype === 'int32') tensor = tf.cast(tensor, 'int32');
const names = network.outputNodes;
const outputs = [network.execute(tensor, names)].flat();
const found = {};
names.forEach((name, i) => {
  found[name] = { shape: outputs[i].shape, values: Array.from(outputs[i].dataSync()) };
});
writeFileSync(output, JSON.stringify(found));
