import { contactSchema, deletedContactSchema, exportedContactSchema } from '@answerline/contracts';
import { Controller, Delete, Get, Header, Param } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import type * as z from 'zod';
import { Answers, idSchema, WorkspaceId } from '../management-api/route.ts';
import { DeleteContact } from './delete-contact.ts';
import { ReadContacts } from './read-contacts.ts';

@ApiTags('Contacts')
@Controller('api/v1/contacts')
export class ContactsController {
  readonly #contacts: ReadContacts;
  readonly #deleteContact: DeleteContact;

  constructor(contacts: ReadContacts, deleteContact: DeleteContact) {
    this.#contacts = contacts;
    this.#deleteContact = deleteContact;
  }

  @Get(':id')
  @Answers('A contact, with the addresses that Meta gave for them', 200, contactSchema)
  read(
    @WorkspaceId() workspaceId: string,
    @Param('id', { schema: idSchema }) id: string,
  ): Promise<z.infer<typeof contactSchema>> {
    return this.#contacts.read(workspaceId, id);
  }

  @Get(':id/export')
  @Header('content-disposition', 'attachment; filename="contact.json"')
  @Answers('Everything that is stored about a contact', 200, exportedContactSchema)
  export(
    @WorkspaceId() workspaceId: string,
    @Param('id', { schema: idSchema }) id: string,
  ): Promise<z.infer<typeof exportedContactSchema>> {
    return this.#contacts.export(workspaceId, id);
  }

  @Delete(':id')
  @Answers('Delete a contact and all that was said with them. It cannot be undone', 200, deletedContactSchema)
  delete(
    @WorkspaceId() workspaceId: string,
    @Param('id', { schema: idSchema }) id: string,
  ): Promise<z.infer<typeof deletedContactSchema>> {
    return this.#deleteContact.execute(workspaceId, id);
  }
}
