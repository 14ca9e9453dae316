import { App } from 'aws-cdk-lib';
import { HandoffStack } from './handoff-stack.ts';

const app = new App();
new HandoffStack(app, 'Handoff', { description: 'Handoff: live-migrates KVM virtual machines between on-prem hosts' });
