/** The services of the program, in the order in which they start. */
export const SERVICES = ['serve', 'ingest', 'alert', 'remediate', 'collect'] as const;
export type ServiceName = (typeof SERVICES)[number];
