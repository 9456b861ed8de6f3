metadata description = 'Who is told? Critical alerts page (mail, text message, web hook); warnings go by mail.'

import { tagSet, phone } from '../types.bicep'

@description('Required. Tags of every resource.')
param tags tagSet

@description('Required. Name of the group that is paged.')
param criticalName string

@description('Required. Name of the group that gets mail.')
param warningName string

@description('Optional. Addresses that critical alerts go to.')
param criticalEmails string[] = []

@description('Optional. Phones that critical alerts go to.')
param criticalPhones phone[] = []

@description('Optional. Web hook of a pager service that critical alerts go to; empty for none.')
@secure()
param criticalWebhook string = ''

@description('Optional. Addresses that warnings go to.')
param warningEmails string[] = []

func mails(addresses string[]) { name: string, emailAddress: string, useCommonAlertSchema: bool }[] =>
  map(addresses, address => { name: address, emailAddress: address, useCommonAlertSchema: true })

resource critical 'Microsoft.Insights/actionGroups@2023-01-01' = {
  name: criticalName
  location: 'global'
  tags: tags
  properties: {
    groupShortName: 'AOS critical'
    enabled: true
    emailReceivers: mails(criticalEmails)
    smsReceivers: [
      for (item, i) in criticalPhones: {
        name: 'phone-${i + 1}'
        countryCode: item.countryCode
        phoneNumber: item.phoneNumber
      }
    ]
    webhookReceivers: empty(criticalWebhook)
      ? []
      : [{ name: 'pager', serviceUri: criticalWebhook, useCommonAlertSchema: true }]
  }
}

resource warning 'Microsoft.Insights/actionGroups@2023-01-01' = {
  name: warningName
  location: 'global'
  tags: tags
  properties: {
    groupShortName: 'AOS warning'
    enabled: true
    emailReceivers: mails(warningEmails)
  }
}
