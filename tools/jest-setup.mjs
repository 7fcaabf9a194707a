// CommonJS packages that require Nest fail with a require cycle unless Nest was imported first.
import 'reflect-metadata';
import '@nestjs/common';
import '@nestjs/core';
