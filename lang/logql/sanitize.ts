/** Any text as a label's name: other characters become `_`, and a digit in front gets one. */
export function sanitizeLabel(text: string, first = true): string {
  const name = text.trim().replaceAll(/[^a-zA-Z0-9_]/g, '_');
  return first && /^[0-9]/.test(name) ? `_${name}` : name;
}
