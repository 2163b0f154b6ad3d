// The official TypeScript SDK's worker: an echo. Run with NODE_PATH at the folder that the SDK is installed in.
const { ComputeModule } = require("@palantir/compute-module");

new ComputeModule({}).register("echo", async (query) => query);
