import { busConformance } from '../../../test/conformance/bus.ts';
import { makeFolder, openIn } from '../testing.ts';

busConformance('The embedded bus', async () => {
  const folder = await makeFolder();
  return {
    open: async () => {
      const { bus, close } = await openIn(folder.path);
      return {
        publish: (...call) => bus.publish(...call),
        subscribe: (...call) => bus.subscribe(...call),
        close,
      };
    },
    dispose: folder.remove,
  };
});
