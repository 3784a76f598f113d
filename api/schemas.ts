/** JSON Schemas that several routes share; `/openapi.json` is made of the routes' schemas. */

export interface Schema {
  readonly [keyword: string]: unknown;
}

export const text = (description: string, ...examples: readonly string[]): Schema => ({
  type: 'string',
  description,
  ...(examples.length === 0 ? {} : { examples }),
});

export const object = (
  properties: Readonly<Record<string, Schema>>,
  required: readonly string[] = Object.keys(properties),
  more: Schema = {},
): Schema => ({
  type: 'object',
  properties,
  // OpenAPI wants at least one name, or no list.
  ...(required.length === 0 ? {} : { required }),
  ...more,
});

export const list = (items: Schema, more: Schema = {}): Schema => ({
  type: 'array',
  items,
  ...more,
});

export const labelsSchema: Schema = {
  type: 'object',
  additionalProperties: { type: 'string' },
  description: 'A label set',
};

/** `[seconds, "value"]` */
const pointSchema: Schema = {
  type: 'array',
  minItems: 2,
  maxItems: 2,
  items: { anyOf: [{ type: 'number' }, { type: 'string' }] },
  description: 'Seconds since the epoch, and the value as text',
};

export const vectorSchema = list(object({ metric: labelsSchema, value: pointSchema }));
export const matrixSchema = list(object({ metric: labelsSchema, values: list(pointSchema) }));
export { pointSchema };

export const success = (data: Schema, example?: unknown): Schema =>
  object(
    { status: { type: 'string', enum: ['success'] }, data },
    ['status', 'data'],
    example === undefined ? {} : { example },
  );

/** A JSON answer. */
export const answer = (description: string, schema: Schema): Schema => ({
  description,
  content: { 'application/json': { schema } },
});

export const textAnswer = (description: string, example: string): Schema => ({
  description,
  content: { 'text/plain': { schema: { type: 'string', example } } },
});

/** Refusals, in the form that each family of routes has. */
export const lokiErrors: Readonly<Record<string, Schema>> = {
  400: textAnswer(
    'The query or a parameter is wrong, or a limit refuses it',
    'parse error at line 1, col 2: unexpected end of the query\n',
  ),
  401: textAnswer('A token is required', 'a bearer token is required\n'),
  429: textAnswer('Too many queries at once', '8 queries run and 64 wait; no more are taken\n'),
  503: textAnswer('The store or the bus is out of reach', 'the store does not answer\n'),
  504: textAnswer('The query took too long', 'the query took longer than 1m\n'),
};

const prometheusError = (description: string, errorType: string, error: string): Schema =>
  answer(
    description,
    object(
      {
        status: { type: 'string', enum: ['error'] },
        errorType: text('What kind of error it is'),
        error: text('What is wrong'),
      },
      undefined,
      { example: { status: 'error', errorType, error } },
    ),
  );

export const prometheusErrors: Readonly<Record<string, Schema>> = {
  400: prometheusError(
    'The query or a parameter is wrong',
    'bad_data',
    'invalid parameter "query": 1:4: parse error: unexpected end of the query',
  ),
  401: prometheusError('A token is required', 'unauthorized', 'a bearer token is required'),
  422: prometheusError(
    'A limit refuses the query',
    'execution',
    'the answer has 20000 series, more than query.max_series (10000)',
  ),
  429: prometheusError(
    'Too many queries at once',
    'execution',
    '8 queries run and 64 wait; no more are taken',
  ),
  503: prometheusError(
    'The query took too long, or the store is out of reach',
    'timeout',
    'the query took longer than 1m',
  ),
};

const ownError = (description: string, code: string, message: string): Schema =>
  answer(
    description,
    object(
      {
        error: object(
          {
            code: text('One of a closed set'),
            message: text('What is wrong'),
            hint: text('What to do'),
            where: { type: 'object', description: 'Line, column, field' },
          },
          ['code', 'message'],
        ),
      },
      undefined,
      { example: { error: { code, message } } },
    ),
  );

export const ownErrors: Readonly<Record<string, Schema>> = {
  400: ownError('A parameter is wrong', 'bad_request', "could not parse 'limit' parameter"),
  401: ownError('A token is required', 'unauthorized', 'a bearer token is required'),
  422: ownError('A limit refuses the request', 'limit_exceeded', 'limit is at most 5000'),
  429: ownError('Too many at once', 'limit_exceeded', '8 queries run and 64 wait'),
  503: ownError('Out of reach', 'unavailable', 'the store does not answer'),
  504: ownError('It took too long', 'timeout', 'the query took longer than 1m'),
};

/** The form of a POST has the parameters of the GET's URL. */
export const form = (parameters: Schema): Schema => ({
  content: { 'application/x-www-form-urlencoded': { schema: parameters } },
});
