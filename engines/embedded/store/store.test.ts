import { storeConformance } from '../../../test/conformance/store.ts';
import { makeFolder } from '../testing.ts';
import { openStoreIn } from './testing.ts';

storeConformance('embedded', async () => {
  const folder = await makeFolder();
  return { open: () => openStoreIn(folder.path), dispose: () => folder.remove() };
});
