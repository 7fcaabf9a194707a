import { problemSchema } from '@answerline/contracts';
import { type INestApplication } from '@nestjs/common';
import { DocumentBuilder, type OpenAPIObject, SwaggerModule } from '@nestjs/swagger';
import * as z from 'zod';

/** Where the description of the API stands, and the page to try it. */
export const OPENAPI_PATH = 'api/openapi.json';
export const DOCS_PATH = 'api/docs';

/** The OpenAPI 3.1 description of every route that Nest serves, made from the schemas that the routes themselves use. */
export function describeApi(app: INestApplication): OpenAPIObject {
  const config = new DocumentBuilder()
    .setOpenAPIVersion('3.1.0')
    .setTitle('Answerline')
    .setDescription(
      'Management API. Press Authorize and paste an API key to try it here. Lists are { items, nextCursor }; errors are ' +
        'problem details (RFC 9457) with a stable code.',
    )
    .setVersion('1')
    .addBearerAuth({
      type: 'http',
      scheme: 'bearer',
      description: 'An API key of a workspace, or the key of the operator. Those of the demo stand in demo.json.',
    })
    .addSecurityRequirements('bearer')
    .addGlobalResponse({
      status: 'default',
      description: 'A problem',
      // Some codes bring members of their own.
      content: { 'application/problem+json': { schema: toJsonSchema(problemSchema.loose(), 'output') } },
    })
    .build();
  return SwaggerModule.createDocument(app, config, {
    standardSchemaConverter: (schema, { schemaType }) =>
      schema instanceof z.ZodType ? { schema: toJsonSchema(schema, schemaType) } : undefined,
  });
}

/** Serves the description and the page. The page loads nothing from elsewhere. */
export function serveApiDocs(app: INestApplication): void {
  SwaggerModule.setup(DOCS_PATH, app, () => describeApi(app), {
    jsonDocumentUrl: OPENAPI_PATH,
    raw: ['json'],
    customSiteTitle: 'Answerline API',
    // The bar of the viewer's maker says nothing about this API.
    customCss: '.swagger-ui .topbar { display: none }',
    swaggerOptions: { tryItOutEnabled: true, displayRequestDuration: true },
  });
}

function toJsonSchema(schema: z.ZodType, io: 'input' | 'output'): Record<string, unknown> {
  const { $schema: _dialect, ...jsonSchema } = z.toJSONSchema(schema, { io, unrepresentable: 'any' });
  return jsonSchema;
}
