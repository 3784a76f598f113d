import { stateConformance } from '../../../test/conformance/state.ts';
import { makeFolder, openIn } from '../testing.ts';

stateConformance('The embedded state', async () => {
  const folder = await makeFolder();
  return {
    open: async (clock) => {
      const { state, close } = await openIn(folder.path, { clock });
      return {
        get: (key) => state.get(key),
        list: (prefix) => state.list(prefix),
        watch: (prefix, signal) => state.watch(prefix, signal),
        create: (...call) => state.create(...call),
        replace: (...call) => state.replace(...call),
        put: (entries) => state.put(entries),
        delete: (...call) => state.delete(...call),
        acquire: (...call) => state.acquire(...call),
        close,
      };
    },
    dispose: folder.remove,
  };
});
